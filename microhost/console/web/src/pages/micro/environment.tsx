import { ClipboardPaste, Pencil, Plus, Trash2 } from "lucide-preact";
import { useState } from "preact/hooks";
import { Button, IconButton } from "../../components/button";
import { confirm, Dialog, FormDialog } from "../../components/dialog";
import { Empty, Failure, Show, toast } from "../../components/feedback";
import { TextArea, TextField } from "../../components/field";
import { Card } from "../../components/page";
import { api } from "../../lib/api";
import { plural } from "../../lib/format";
import { type Loaded, useAction, useLoad } from "../../lib/loading";
import { parseEnv } from "./env-file";
import styles from "./micro.module.css";
import { apiOf, type PartProps } from "./place";
import { RefusalLog } from "./refusal-log";

interface Names {
  names: string[];
}
type Changes = Record<string, string | null>;
type Asking = { what: "one"; name: string } | { what: "file" } | null;

/** The variables that the Micro's code sees: their names can be read, their values only written. */
export default function Environment({ micro }: PartProps) {
  const at = `${apiOf(micro)}/env`;
  const names = useLoad<Names>(at);
  const [asking, setAsking] = useState<Asking>(null);
  const change = async (changes: Changes) => names.replace(await api.put<Names>(at, changes));
  const deleting = useAction((name: string) => change({ [name]: null }));
  const remove = async (name: string) => {
    const body = <p>The Micro runs without it at once. Its value cannot be brought back.</p>;
    if (!(await confirm({ title: `Delete ${name}?`, body, action: "Delete", danger: true }))) return;
    if (await deleting.run(name)) toast(`${name} was deleted.`);
  };
  return (
    <Card
      title="Environment variables"
      help="Values are kept encrypted and never shown again. A change is live at once."
      actions={
        <>
          <Button onClick={() => setAsking({ what: "file" })}>
            <ClipboardPaste size={16} aria-hidden="true" /> Paste a .env
          </Button>
          <Button kind="main" onClick={() => setAsking({ what: "one", name: "" })}>
            <Plus size={16} aria-hidden="true" /> New variable
          </Button>
        </>
      }
    >
      <Failure error={deleting.error} />
      <RefusalLog error={deleting.error} />
      <List
        names={names}
        onSet={(name) => setAsking({ what: "one", name })}
        onDelete={(name) => void remove(name)}
      />
      {asking?.what === "one" && (
        <SetOne
          name={asking.name}
          known={names.data?.names ?? []}
          change={change}
          onClose={() => setAsking(null)}
        />
      )}
      {asking?.what === "file" && (
        <PasteFile known={names.data?.names ?? []} change={change} onClose={() => setAsking(null)} />
      )}
    </Card>
  );
}

function List({
  names,
  onSet,
  onDelete,
}: {
  names: Loaded<Names>;
  onSet: (name: string) => void;
  onDelete: (name: string) => void;
}) {
  return (
    <Show of={names}>
      {({ names }) =>
        names.length ? (
          <ul class={styles.list}>
            {names.map((name) => (
              <li key={name}>
                <code>{name}</code>
                <span class="row">
                  <IconButton small label={`Set ${name}`} onClick={() => onSet(name)}>
                    <Pencil size={16} aria-hidden="true" />
                  </IconButton>
                  <IconButton small label={`Delete ${name}`} onClick={() => onDelete(name)}>
                    <Trash2 size={16} aria-hidden="true" />
                  </IconButton>
                </span>
              </li>
            ))}
          </ul>
        ) : (
          <Empty title="No variables yet">
            <p>
              Read one in Python by <code>os.environ["NAME"]</code>. Passwords and keys belong here, not into
              the code.
            </p>
          </Empty>
        )
      }
    </Show>
  );
}

interface DialogProps {
  known: string[];
  change: (changes: Changes) => Promise<void>;
  onClose: () => void;
}

function SetOne({ name: given, known, change, onClose }: DialogProps & { name: string }) {
  const [name, setName] = useState(given);
  const [value, setValue] = useState("");
  const saving = useAction(async () => {
    await change({ [name.trim()]: value });
    onClose();
    toast(`${name.trim()} is set.`);
  });
  const replaces = !given && known.includes(name.trim());
  return (
    <FormDialog
      title={given ? `Set ${given}` : "New variable"}
      action="Save"
      doing={saving}
      onClose={onClose}
    >
      {!given && (
        <TextField
          label="Name"
          help={replaces ? "It is there already; its value is replaced." : "Letters, digits and “_”."}
          required
          autofocus
          spellcheck={false}
          value={name}
          onValue={setName}
        />
      )}
      <TextArea label="Value" rows={3} autofocus={Boolean(given)} value={value} onValue={setValue} />
      <RefusalLog error={saving.error} />
    </FormDialog>
  );
}

function PasteFile({ known, change, onClose }: DialogProps) {
  const [text, setText] = useState("");
  const { variables, mistakes } = parseEnv(text);
  const names = Object.keys(variables);
  const replaced = names.filter((name) => known.includes(name)).length;
  const saving = useAction(async () => {
    await change(variables);
    onClose();
    toast(`${plural(names.length, "variable")} set.`);
  });
  return (
    <Dialog title="Paste a .env" onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (names.length && !mistakes.length) void saving.run();
        }}
      >
        <TextArea
          label="Content of the file"
          help="A NAME=value on each line. Variables that it does not name stay as they are."
          error={mistakes.join(" ") || undefined}
          rows={8}
          autofocus
          value={text}
          onValue={setText}
        />
        <p class="help" aria-live="polite">
          {plural(names.length, "variable")}, {replaced ? `${replaced} of them replaced` : "all of them new"}
        </p>
        <Failure error={saving.error} />
        <RefusalLog error={saving.error} />
        <footer class="row end">
          <Button onClick={onClose}>Cancel</Button>
          <Button
            type="submit"
            kind="main"
            busy={saving.busy}
            disabled={!names.length || mistakes.length > 0}
          >
            Save
          </Button>
        </footer>
      </form>
    </Dialog>
  );
}
