/** Delete files and whole folders, after asking. */

import { useState } from "preact/hooks";
import { confirm } from "../../components/dialog";
import { toast } from "../../components/feedback";
import { ApiError } from "../../lib/api";
import { plural } from "../../lib/format";
import { useAction } from "../../lib/loading";
import { type DriveAt, deleteNames, listAll } from "./files";
import type { Entry } from "./names";

const NAMED = 6;

/** Give the act, and how far it is in words. */
export function useDeleting(drive: DriveAt, onDeleted: () => Promise<void>) {
  const [progress, setProgress] = useState<string>();
  const { run, busy, error } = useAction(async (entries: Entry[]) => {
    try {
      setProgress("Looking what there is…");
      const names = await namesOf(drive, entries);
      if (!(await ask(entries, names.length))) return;
      const failed = await deleteNames(drive, names, (done) =>
        setProgress(`${done.toLocaleString("en")} of ${plural(names.length, "file")} deleted`),
      );
      const reasons = Object.entries(failed).map(([name, reason]) => `${name}: ${reason}`);
      toast(`${plural(names.length - reasons.length, "file")} deleted.`);
      await onDeleted();
      if (reasons.length) throw new ApiError(200, reasons.slice(0, NAMED));
    } finally {
      setProgress(undefined);
    }
  });
  return { run, busy, error, progress };
}

/** A folder is all that begins with its name. */
async function namesOf(drive: DriveAt, entries: Entry[]): Promise<string[]> {
  const names: string[] = [];
  for (const { kind, name } of entries)
    names.push(...(kind === "folder" ? await listAll(drive, name) : [name]));
  return names;
}

function ask(entries: Entry[], count: number): Promise<boolean> {
  return confirm({
    title: `Delete ${plural(count, "file")}?`,
    body: (
      <div class="stack">
        <p>
          {entries.some(({ kind }) => kind === "folder") && "Folders go with all that is in them. "}
          What is deleted cannot be brought back.
        </p>
        <ul class="mono">
          {entries.slice(0, NAMED).map(({ kind, name, label }) => (
            <li key={name}>{kind === "folder" ? `${label}/` : label}</li>
          ))}
          {entries.length > NAMED && <li>and {(entries.length - NAMED).toLocaleString("en")} more</li>}
        </ul>
      </div>
    ),
    action: "Delete",
    danger: true,
  });
}
