import { useState } from "preact/hooks";
import { useLocation } from "wouter-preact";
import { FormDialog } from "../../components/dialog";
import { TextField } from "../../components/field";
import { paths } from "../../lib/paths";
import { useProject } from "../../lib/project";
import { problemOfBase } from "./keeping";

/** Go to a Base by its name. One that is not there yet comes into being with its first item. */
export function OpenBaseDialog({ onClose }: { onClose: () => void }) {
  const { name: project } = useProject();
  const [, go] = useLocation();
  const [name, setName] = useState("");
  const [problem, setProblem] = useState<string>();
  return (
    <FormDialog
      title="Open a Base"
      action="Open"
      onSubmit={() => {
        const found = problemOfBase(name);
        if (found) return setProblem(found);
        onClose();
        go(paths.base(project, name));
      }}
      onClose={onClose}
    >
      <TextField
        label="Name of the Base"
        help="A new one is made when its first item is saved."
        value={name}
        error={problem}
        onValue={(value) => {
          setName(value);
          setProblem(undefined);
        }}
        autofocus
      />
    </FormDialog>
  );
}
