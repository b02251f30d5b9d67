import { useState } from "preact/hooks";
import { useLocation } from "wouter-preact";
import { FormDialog } from "../../components/dialog";
import { TextField } from "../../components/field";
import { paths } from "../../lib/paths";
import { wrongDriveName } from "./names";

/** Open a Drive by its name, be there one or not: it exists with its first file. */
export function OpenDrive({ project, onClose }: { project: string; onClose: () => void }) {
  const [name, setName] = useState("");
  const [wrong, setWrong] = useState<string>();
  const [, go] = useLocation();
  return (
    <FormDialog
      title="Open a Drive"
      action="Open"
      onSubmit={() => {
        const found = wrongDriveName(name);
        setWrong(found);
        if (found) return;
        onClose();
        go(paths.drive(project, name));
      }}
      onClose={onClose}
    >
      <TextField
        label="Name"
        help="Any name: a Drive that does not exist yet begins with the first file in it."
        error={wrong}
        autofocus
        value={name}
        onValue={setName}
      />
    </FormDialog>
  );
}
