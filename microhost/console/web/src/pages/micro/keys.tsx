import { KeyRound, Trash2 } from "lucide-preact";
import { useState } from "preact/hooks";
import { Link } from "wouter-preact";
import { Button, IconButton } from "../../components/button";
import { confirm, Dialog, FormDialog } from "../../components/dialog";
import { Empty, Failure, Notice, Show, toast } from "../../components/feedback";
import { TextField } from "../../components/field";
import { Card } from "../../components/page";
import { CodeLine, Time } from "../../components/showing";
import { api, url } from "../../lib/api";
import { useAction, useLoad } from "../../lib/loading";
import type { ApiKey, Micro } from "../../lib/types";
import { apiOf, type PartProps, partOf } from "./place";

/** The keys that open this Micro while Deta Access keeps it closed. */
export default function Keys({ micro }: PartProps) {
  const keys = useLoad<{ api_keys: ApiKey[] }>(`${apiOf(micro)}/api-keys`);
  const [adding, setAdding] = useState(false);
  const deleting = useAction(async (name: string) => {
    await api.delete(`${apiOf(micro)}/api-keys/${url`${name}`}`);
    await keys.reload();
  });
  const remove = async (name: string) => {
    const body = <p>Whoever calls the Micro with it is refused from then on.</p>;
    if (!(await confirm({ title: `Delete the key “${name}”?`, body, action: "Delete", danger: true })))
      return;
    if (await deleting.run(name)) toast(`The key “${name}” was deleted.`);
  };
  return (
    <>
      {!micro.http_auth && (
        <Notice>
          <p>
            This Micro is public: nobody needs a key.{" "}
            <Link href={partOf(micro, "settings")}>Turn Deta Access on</Link> to close it.
          </p>
        </Notice>
      )}
      <Card
        title="API keys"
        help="A key lets a program call this Micro, in the header X-API-Key."
        actions={
          <Button kind="main" onClick={() => setAdding(true)}>
            <KeyRound size={16} aria-hidden="true" /> New key
          </Button>
        }
      >
        <Failure error={deleting.error} />
        <Show of={keys}>
          {({ api_keys }) =>
            api_keys.length ? (
              <KeyTable keys={api_keys} onDelete={(name) => void remove(name)} />
            ) : (
              <Empty title="No keys yet" />
            )
          }
        </Show>
        {adding && (
          <NewKey micro={micro} onMade={() => void keys.reload()} onClose={() => setAdding(false)} />
        )}
      </Card>
    </>
  );
}

function KeyTable({ keys, onDelete }: { keys: ApiKey[]; onDelete: (name: string) => void }) {
  return (
    <div class="table">
      <table>
        <thead>
          <tr>
            <th>Name</th>
            <th>Description</th>
            <th>Begins with</th>
            <th class="roomy">Made</th>
            <th>
              <span class="visually-hidden">Actions</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {keys.map(({ name, description, prefix, created }) => (
            <tr key={name}>
              <td>{name}</td>
              <td class="soft">{description}</td>
              <td class="mono">{prefix}</td>
              <td class="roomy">
                <Time at={created} />
              </td>
              <td class="number">
                <IconButton small label={`Delete the key ${name}`} onClick={() => onDelete(name)}>
                  <Trash2 size={16} aria-hidden="true" />
                </IconButton>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function NewKey({ micro, onMade, onClose }: { micro: Micro; onMade: () => void; onClose: () => void }) {
  const [name, setName] = useState("");
  const [description, setDescription] = useState("");
  const [key, setKey] = useState<string>();
  const making = useAction(async () => {
    const made = await api.post<{ api_key: string }>(`${apiOf(micro)}/api-keys`, {
      name: name.trim(),
      description: description.trim(),
    });
    setKey(made.api_key);
    onMade();
  });
  if (key) return <ShownOnce micro={micro} keyText={key} onClose={onClose} />;
  return (
    <FormDialog title="New API key" action="Make the key" doing={making} onClose={onClose}>
      <TextField label="Name" required autofocus value={name} onValue={setName} />
      <TextField
        label="Description"
        help="Who has it, and what for."
        value={description}
        onValue={setDescription}
      />
    </FormDialog>
  );
}

function ShownOnce({ micro, keyText, onClose }: { micro: Micro; keyText: string; onClose: () => void }) {
  return (
    <Dialog title="Your new API key" onClose={onClose}>
      <Notice kind="warn">
        <p>Copy it now: it is shown only this once.</p>
      </Notice>
      <CodeLine text={keyText} label="Copy the key" />
      <div class="stack">
        <p>To try it, paste it in place of KEY:</p>
        <CodeLine text={`curl -H 'X-API-Key: KEY' ${micro.endpoint}/`} label="Copy the command" />
      </div>
      <footer class="row end">
        <Button kind="main" onClick={onClose}>
          Done
        </Button>
      </footer>
    </Dialog>
  );
}
