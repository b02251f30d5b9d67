import { Button } from "../../components/button";
import { Dialog } from "../../components/dialog";
import { plural } from "../../lib/format";

export interface Taken {
  files: { name: string; file: File }[];
  /** The names among them at which there is a file. */
  names: string[];
}

const SHOWN = 8;

/** Ask what to do with files that would replace others. */
export function Overwrite({
  files,
  names,
  onDecided,
  onClose,
}: Taken & { onDecided: (files: Taken["files"]) => void; onClose: () => void }) {
  const decide = (chosen: Taken["files"]) => {
    onClose();
    onDecided(chosen);
  };
  const known = new Set(names);
  const others = files.filter(({ name }) => !known.has(name));
  return (
    <Dialog title={`Replace ${plural(names.length, "file")}?`} onClose={onClose}>
      <div class="stack">
        <p>
          {names.length === 1 ? "A file of this name is" : "Files of these names are"} in the Drive already.
          What is replaced cannot be brought back.
        </p>
        <ul class="mono">
          {names.slice(0, SHOWN).map((name) => (
            <li key={name}>{name}</li>
          ))}
          {names.length > SHOWN && <li>and {(names.length - SHOWN).toLocaleString("en")} more</li>}
        </ul>
      </div>
      <footer class="row end">
        <Button onClick={onClose}>Cancel</Button>
        {others.length > 0 && (
          <Button onClick={() => decide(others)}>
            Upload only the other {others.length.toLocaleString("en")}
          </Button>
        )}
        <Button kind="danger" onClick={() => decide(files)} autofocus>
          Replace
        </Button>
      </footer>
    </Dialog>
  );
}
