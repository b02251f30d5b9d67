import { Plus, Trash2 } from "lucide-preact";
import { useState } from "preact/hooks";
import { Button, IconButton } from "../../components/button";
import { confirm, FormDialog } from "../../components/dialog";
import { Empty, Failure, Show, toast } from "../../components/feedback";
import { TextField } from "../../components/field";
import { Card } from "../../components/page";
import { SecretDialog } from "../../components/secret";
import { Time } from "../../components/showing";
import { api, url } from "../../lib/api";
import { useAction, useLoad } from "../../lib/loading";
import type { Token } from "../../lib/types";

interface Made {
  name: string;
  token: string;
}

/** The tokens with which terminals and programs act for a user. */
export function TokensTab() {
  const tokens = useLoad<{ tokens: Token[] }>("/tokens");
  const [making, setMaking] = useState(false);
  const [made, setMade] = useState<Made>();
  const deleting = useAction(async (token: Token) => {
    const yes = await confirm({
      title: `Delete the token ${nameOf(token)}?`,
      body: "Whatever uses it is refused at once. This cannot be undone.",
      action: "Delete",
      danger: true,
    });
    if (!yes) return;
    await api.delete(url`/tokens/${token.id}`);
    toast(`The token ${nameOf(token)} is deleted.`);
    await tokens.reload();
  });
  return (
    <Card
      title="Access tokens"
      help="A token opens everything that its user may do. The deta command gets one by deta login."
      actions={
        <Button kind="main" onClick={() => setMaking(true)}>
          <Plus size={16} aria-hidden="true" /> New token
        </Button>
      }
    >
      <Failure error={deleting.error} />
      <Show of={tokens} lines={4}>
        {({ tokens: all }) =>
          all.length ? (
            <TokenTable tokens={all} onDelete={(token) => void deleting.run(token)} />
          ) : (
            <Empty title="There is no token" />
          )
        }
      </Show>
      {making && (
        <NewToken
          onClose={() => setMaking(false)}
          onMade={(given) => {
            setMaking(false);
            setMade(given);
            void tokens.reload();
          }}
        />
      )}
      {made && (
        <SecretDialog
          title={`Token ${made.name}`}
          secret={made.token}
          label="Copy the token"
          onClose={() => setMade(undefined)}
        >
          <p>Copy the token now: it is shown this once and kept nowhere. It is valid for a year.</p>
        </SecretDialog>
      )}
    </Card>
  );
}

/** What a narrow screen does without. */
const LESS = ["User", "Made"];

const nameOf = (token: Token) => token.name || token.id;

function TokenTable({ tokens, onDelete }: { tokens: Token[]; onDelete: (token: Token) => void }) {
  return (
    <div class="table">
      <table>
        <thead>
          <tr>
            {["Name", "User", "Made", "Last used", "Expires"].map((head) => (
              <th key={head} scope="col" class={LESS.includes(head) ? "roomy" : undefined}>
                {head}
              </th>
            ))}
            <th scope="col">
              <span class="visually-hidden">Delete</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {tokens.map((token) => (
            <tr key={token.id}>
              <td>{token.name || <code>{token.id}</code>}</td>
              <td class="roomy">{token.user}</td>
              <td class="soft roomy">
                <Time at={token.created_at} />
              </td>
              <td class="soft">{token.last_used_at ? <Time at={token.last_used_at} /> : "never"}</td>
              <td class="soft">{token.expires_at ? <Time at={token.expires_at} /> : "never"}</td>
              <td class="number">
                <IconButton small label={`Delete ${nameOf(token)}`} onClick={() => onDelete(token)}>
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

function NewToken({ onMade, onClose }: { onMade: (made: Made) => void; onClose: () => void }) {
  const [name, setName] = useState("");
  const making = useAction(async () => {
    const given = await api.post<{ token: string }>("/tokens", { name: name.trim() });
    onMade({ name: name.trim(), token: given.token });
  });
  return (
    <FormDialog title="New access token" action="Create" doing={making} onClose={onClose}>
      <TextField
        label="Name"
        help="What it is for, such as build server."
        required
        autofocus
        value={name}
        onValue={setName}
      />
    </FormDialog>
  );
}
