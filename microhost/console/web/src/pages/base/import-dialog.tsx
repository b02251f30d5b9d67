import { useEffect, useRef, useState } from "preact/hooks";
import { Button } from "../../components/button";
import { Dialog } from "../../components/dialog";
import { Notice, toast } from "../../components/feedback";
import { TextField } from "../../components/field";
import { bytes, plural } from "../../lib/format";
import { useAction } from "../../lib/loading";
import { newKey, putAll } from "./saving";
import { type ReadItems, readItems } from "./transfer";
import type { Wire } from "./wire";

const FILE_BYTES = 256 * 1024 * 1024;
const FAILURES_TOLD = 20;

/** Store the items of a file: they are checked first, then put 25 at a time. */
export function ImportDialog({
  wire,
  onStored,
  onClose,
}: {
  wire: Wire;
  onStored: () => void;
  onClose: () => void;
}) {
  const [read, setRead] = useState<ReadItems>();
  const [done, setDone] = useState(0);
  const [failures, setFailures] = useState<ReadonlyMap<string, string>>(new Map());
  const stopped = useRef(false);
  useEffect(
    () => () => {
      stopped.current = true;
    },
    [],
  );

  const choose = async (file: File | undefined) => {
    setRead(undefined);
    setFailures(new Map());
    setDone(0);
    if (!file) return;
    const tooLarge = `The file has ${bytes(file.size)}; at most ${bytes(FILE_BYTES)} can be read here.`;
    setRead(file.size > FILE_BYTES ? { items: [], problems: [tooLarge] } : readItems(await file.text()));
  };
  const store = useAction(async () => {
    if (!read) return;
    const items = read.items.map((item) => (item.has("key") ? item : new Map([["key", newKey()], ...item])));
    const failed = await putAll(items, wire, { onDone: setDone, isStopped: () => stopped.current });
    setFailures(failed);
    onStored();
    if (stopped.current) toast("The import was stopped; what was stored stays");
    else toast(`${plural(items.length - failed.size, "item")} imported`);
    if (!failed.size && !stopped.current) onClose();
  });

  const count = read?.items.length ?? 0;
  const ready = count > 0 && read?.problems.length === 0;
  return (
    <Dialog title="Import" onClose={onClose}>
      <p>A file of JSON with a list of items. An item whose key is taken replaces the one that is there.</p>
      <TextField
        label="File"
        type="file"
        accept=".json,application/json"
        disabled={store.busy}
        onChange={(event) => void choose(event.currentTarget.files?.[0])}
      />
      <div role="status">
        {read && <Verdict read={read} />}
        {failures.size > 0 && <Failures failures={failures} />}
      </div>
      {store.busy && <progress max={count} value={done} aria-label="Imported" style={{ width: "100%" }} />}
      <footer class="row end">
        <Button onClick={onClose}>{store.busy ? "Stop" : "Close"}</Button>
        <Button kind="main" busy={store.busy} disabled={!ready} onClick={() => void store.run()}>
          {ready ? `Import ${plural(count, "item")}` : "Import"}
        </Button>
      </footer>
    </Dialog>
  );
}

function Verdict({ read }: { read: ReadItems }) {
  if (!read.problems.length)
    return <Notice kind="good">{plural(read.items.length, "item")}, all of which can be stored.</Notice>;
  return (
    <Notice kind="warn">
      <p>Nothing can be imported before this is mended:</p>
      {read.problems.map((each) => (
        <p key={each}>{each}</p>
      ))}
    </Notice>
  );
}

function Failures({ failures }: { failures: ReadonlyMap<string, string> }) {
  const told = [...failures].slice(0, FAILURES_TOLD);
  return (
    <Notice kind="warn">
      <p>{plural(failures.size, "item")} could not be stored:</p>
      {told.map(([key, reason]) => (
        <p key={key}>
          <strong>{key}</strong>: {reason}
        </p>
      ))}
      {failures.size > told.length && <p>… and {failures.size - told.length} more.</p>}
    </Notice>
  );
}
