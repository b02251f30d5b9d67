import { useState } from "preact/hooks";
import { Button } from "../../components/button";
import { Dialog } from "../../components/dialog";
import { TextField } from "../../components/field";
import { readFolder } from "./names";

/** Ask for a folder's name; what is uploaded then goes there, and the folder exists. */
export function NewFolder({
  prefix,
  onFolder,
  onClose,
}: {
  prefix: string;
  onFolder: (prefix: string) => void;
  onClose: () => void;
}) {
  const [text, setText] = useState("");
  const [wrong, setWrong] = useState<string>();
  return (
    <Dialog title="New folder" onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          const read = readFolder(text);
          if ("wrong" in read) setWrong(read.wrong);
          else onFolder(prefix + read.prefix);
        }}
      >
        <TextField
          label="Name"
          help="A folder exists while a file is in it. It opens empty; upload something into it."
          error={wrong}
          autofocus
          value={text}
          onValue={setText}
        />
        <footer class="row end">
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" kind="main">
            Open it
          </Button>
        </footer>
      </form>
    </Dialog>
  );
}
