import { useState } from "preact/hooks";
import { useLocation } from "wouter-preact";
import { Button } from "../../components/button";
import { Dialog } from "../../components/dialog";
import { TextField } from "../../components/field";
import { paths } from "../../lib/paths";
import { wrongDriveName } from "./names";

/** Open a Drive by its name, be there one or not: it exists with its first file. */
export function OpenDrive({ project, onClose }: { project: string; onClose: () => void }) {
  const [name, setName] = useState("");
  const [wrong, setWrong] = useState<string>();
  const [, go] = useLocation();
  return (
    <Dialog title="Open a Drive" onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          const found = wrongDriveName(name);
          setWrong(found);
          if (found) return;
          onClose();
          go(paths.drive(project, name));
        }}
      >
        <TextField
          label="Name"
          help="Any name: a Drive that does not exist yet begins with the first file in it."
          error={wrong}
          autofocus
          value={name}
          onValue={setName}
        />
        <footer class="row end">
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" kind="main">
            Open
          </Button>
        </footer>
      </form>
    </Dialog>
  );
}
