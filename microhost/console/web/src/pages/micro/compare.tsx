import { ChevronDown, ChevronRight, X } from "lucide-preact";
import { useState } from "preact/hooks";
import { IconButton } from "../../components/button";
import { Empty, Show } from "../../components/feedback";
import { SelectField } from "../../components/field";
import { Card } from "../../components/page";
import { url } from "../../lib/api";
import { plural } from "../../lib/format";
import { lazy } from "../../lib/lazy";
import { useLoad } from "../../lib/loading";
import type { Deployment, FileList, Micro } from "../../lib/types";
import { type Change, type ChangedFile, compareFiles } from "./changes";
import styles from "./micro.module.css";
import { plain } from "./words";

const FileDiff = lazy(() => import("./file-diff"));
const KINDS: Record<Change, string> = { added: "good", changed: "info", removed: "bad" };

interface CompareProps {
  micro: Micro;
  deployments: Deployment[];
  from: string;
  to: string;
  onChoose: (from: string, to: string) => void;
  onClose: () => void;
}

/** What changed in the code from one deployment to another. */
export function Compare({ micro, deployments, from, to, onChoose, onClose }: CompareProps) {
  const at = (id: string) => url`/projects/${micro.project}/micros/${micro.id}/deployments/${id}`;
  const before = useLoad<FileList>(`${at(from)}/files`);
  const after = useLoad<FileList>(`${at(to)}/files`);
  const options = deployments.map(
    ({ id, number, state }) => [id, `Deployment ${number}${state === "live" ? " (live)" : ""}`] as const,
  );
  return (
    <Card
      title="Changes"
      actions={
        <IconButton label="Close the comparison" small onClick={onClose}>
          <X size={16} aria-hidden="true" />
        </IconButton>
      }
    >
      <div class="stack">
        <div class={styles.filters}>
          <SelectField label="From" options={options} value={from} onValue={(id) => onChoose(id, to)} />
          <SelectField label="To" options={options} value={to} onValue={(id) => onChoose(from, id)} />
        </div>
        <Show of={before}>
          {(old) => (
            <Show of={after}>
              {(now) => (
                <Files
                  key={`${from} ${to}`}
                  files={compareFiles(old.files, now.files)}
                  at={[at(from), at(to)]}
                />
              )}
            </Show>
          )}
        </Show>
      </div>
    </Card>
  );
}

function Files({ files, at }: { files: ChangedFile[]; at: [from: string, to: string] }) {
  if (!files.length) return <Empty title="Their files are the same" />;
  return (
    <div>
      <p class="help">{plural(files.length, "file")} changed</p>
      <ul class={`${styles.list} ${styles.files}`}>
        {files.map((file) => (
          <File key={file.path} file={file} at={at} />
        ))}
      </ul>
    </div>
  );
}

function File({ file, at }: { file: ChangedFile; at: [from: string, to: string] }) {
  const [open, setOpen] = useState(false);
  const Arrow = open ? ChevronDown : ChevronRight;
  return (
    <li>
      <button type="button" class={styles.file} aria-expanded={open} onClick={() => setOpen(!open)}>
        <Arrow size={16} aria-hidden="true" />
        <span class="mono">{plain(file.path)}</span>
        <span class={`badge ${KINDS[file.change]}`}>{file.change}</span>
      </button>
      {open && <FileDiff file={file} from={at[0]} to={at[1]} />}
    </li>
  );
}
