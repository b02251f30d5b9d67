import { useState } from "preact/hooks";
import { FormDialog } from "../../components/dialog";
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
    <FormDialog
      title="New folder"
      action="Open it"
      onSubmit={() => {
        const read = readFolder(text);
        if ("wrong" in read) setWrong(read.wrong);
        else onFolder(prefix + read.prefix);
      }}
      onClose={onClose}
    >
      <TextField
        label="Name"
        help="A folder exists while a file is in it. It opens empty; upload something into it."
        error={wrong}
        autofocus
        value={text}
        onValue={setText}
      />
    </FormDialog>
  );
}
