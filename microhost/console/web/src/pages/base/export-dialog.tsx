import { useEffect, useRef, useState } from "preact/hooks";
import { Button } from "../../components/button";
import { Dialog } from "../../components/dialog";
import { Failure, toast } from "../../components/feedback";
import { SelectField } from "../../components/field";
import { plural } from "../../lib/format";
import { useAction } from "../../lib/loading";
import type { Value } from "./json";
import { download, exportItems } from "./transfer";
import type { Wire } from "./wire";

/** Write all items, or those of the query, into a file of JSON. */
export function ExportDialog({
  wire,
  base,
  query,
  onClose,
}: {
  wire: Wire;
  base: string;
  query: Value[];
  onClose: () => void;
}) {
  const [which, setWhich] = useState(query.length ? "query" : "all");
  const [count, setCount] = useState(0);
  const running = useRef<AbortController>();
  useEffect(() => () => running.current?.abort(), []);
  const act = useAction(async () => {
    running.current = new AbortController();
    const { signal } = running.current;
    const asked = which === "query" ? query : [];
    const made = await exportItems(wire, asked, { onCount: setCount, signal }).catch((error: unknown) => {
      if (signal.aborted) return null;
      throw error;
    });
    if (!made) return;
    download(made.file, `${fileName(base)}.json`);
    toast(`${plural(made.count, "item")} exported`);
    onClose();
  });
  return (
    <Dialog title="Export" onClose={onClose}>
      {query.length ? (
        <SelectField
          label="Which items"
          value={which}
          options={[
            ["query", "Those that match the query"],
            ["all", "All"],
          ]}
          onValue={setWhich}
          disabled={act.busy}
        />
      ) : (
        <p>
          All items of the Base as a list of JSON, as they are stored: edits that are not saved are not in it.
        </p>
      )}
      <Failure error={act.error} />
      <p class="soft" role="status" style={{ minHeight: "1.5rem" }}>
        {act.busy && `${plural(count, "item")} so far`}
      </p>
      <footer class="row end">
        <Button onClick={onClose}>Cancel</Button>
        <Button kind="main" busy={act.busy} onClick={() => void act.run()}>
          Export
        </Button>
      </footer>
    </Dialog>
  );
}

/** A name that every system takes for a file. */
function fileName(base: string): string {
  return base.replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^[.-]+/, "") || "base";
}
