import { Plus, Trash2 } from "lucide-preact";
import { useState } from "preact/hooks";
import { Button, IconButton } from "../components/button";
import { confirm, FormDialog } from "../components/dialog";
import { Empty, Failure, Show, toast } from "../components/feedback";
import { TextField } from "../components/field";
import { Card, Page } from "../components/page";
import { SecretDialog } from "../components/secret";
import { CodeLine, Time } from "../components/showing";
import { api, url } from "../lib/api";
import { useAction, useLoad } from "../lib/loading";
import { useProject } from "../lib/project";
import type { ProjectKey } from "../lib/types";

/** The keys with which clients outside reach a project's Bases and Drives. */
export default function ProjectKeys() {
  const { name, project } = useProject();
  const at = url`/projects/${name}/keys`;
  const keys = useLoad<{ keys: ProjectKey[] }>(at);
  const [making, setMaking] = useState(false);
  const [made, setMade] = useState<{ name: string; key: string }>();
  const deleting = useAction(async (key: ProjectKey) => {
    const yes = await confirm({
      title: `Delete the key ${key.name}?`,
      body: "Whatever uses it is refused at once. This cannot be undone.",
      action: "Delete",
      danger: true,
    });
    if (!yes) return;
    await api.delete(`${at}${url`/${key.name}`}`);
    toast(`The key ${key.name} is deleted.`);
    await keys.reload();
  });
  const add = (
    <Button kind="main" onClick={() => setMaking(true)}>
      <Plus size={16} aria-hidden="true" /> New key
    </Button>
  );
  return (
    <Page title="Project keys" actions={add}>
      <Card
        title="Project ID"
        help="Stands in the addresses of the HTTP API and is the first part of every key."
      >
        <Show of={project} lines={1}>
          {({ id }) => <CodeLine text={id} label="Copy the project ID" />}
        </Show>
      </Card>
      <Card
        title="Keys"
        help="A key opens all Bases and Drives of this project. Micros have one of their own and need none of these."
      >
        <Failure error={deleting.error} />
        <Show of={keys} lines={3}>
          {({ keys: all }) =>
            all.length ? (
              <KeyTable keys={all} onDelete={(key) => void deleting.run(key)} />
            ) : (
              <Empty title="There is no key yet">
                <p>Make one to use Base and Drive from your own programs.</p>
              </Empty>
            )
          }
        </Show>
      </Card>
      {making && (
        <NewKey
          at={at}
          onClose={() => setMaking(false)}
          onMade={(key) => {
            setMaking(false);
            setMade(key);
            void keys.reload();
          }}
        />
      )}
      {made && (
        <SecretDialog
          title={`Key ${made.name}`}
          secret={made.key}
          label="Copy the key"
          onClose={() => setMade(undefined)}
        >
          <p>Copy the key now: it is shown this once and kept nowhere.</p>
        </SecretDialog>
      )}
    </Page>
  );
}

function KeyTable({ keys, onDelete }: { keys: ProjectKey[]; onDelete: (key: ProjectKey) => void }) {
  return (
    <div class="table">
      <table>
        <thead>
          <tr>
            <th scope="col">Name</th>
            <th scope="col">Made</th>
            <th scope="col">
              <span class="visually-hidden">Delete</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {keys.map((key) => (
            <tr key={key.name}>
              <td class="mono">{key.name}</td>
              <td class="soft">
                <Time at={key.created_at} />
              </td>
              <td class="number">
                <IconButton small label={`Delete ${key.name}`} onClick={() => onDelete(key)}>
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

function NewKey({
  at,
  onMade,
  onClose,
}: {
  at: string;
  onMade: (made: { name: string; key: string }) => void;
  onClose: () => void;
}) {
  const [name, setName] = useState("");
  const making = useAction(async () => onMade(await api.post(at, { name: name.trim() })));
  return (
    <FormDialog title="New project key" action="Create" doing={making} onClose={onClose}>
      <TextField
        label="Name"
        help="What it is for, such as laptop."
        required
        autofocus
        value={name}
        onValue={setName}
      />
    </FormDialog>
  );
}
