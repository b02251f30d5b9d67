import { RotateCw, Trash2, UserPlus } from "lucide-preact";
import { useState } from "preact/hooks";
import { Button, IconButton } from "../../components/button";
import { confirm, FormDialog } from "../../components/dialog";
import { Failure, Show, toast } from "../../components/feedback";
import { TextField } from "../../components/field";
import { Card } from "../../components/page";
import { SecretDialog } from "../../components/secret";
import { Time } from "../../components/showing";
import { api, url } from "../../lib/api";
import { useAction, useLoad } from "../../lib/loading";
import type { Member } from "../../lib/types";

interface Invited {
  user: Member;
  invitation: string;
}

/** Who may use this host: the owner invites members and sends them away. */
export function UsersTab() {
  const users = useLoad<{ users: Member[] }>("/users");
  const [inviting, setInviting] = useState(false);
  const [invited, setInvited] = useState<Invited>();
  const take = (given: Invited) => {
    setInviting(false);
    setInvited(given);
    void users.reload();
  };
  const again = useAction(async (user: Member) => take(await api.post(url`/users/${user.id}/invitation`)));
  const deleting = useAction(async (user: Member) => {
    const yes = await confirm({
      title: `Delete ${user.name}?`,
      body: "Their sessions and access tokens end at once. What they made stays.",
      action: "Delete",
      danger: true,
    });
    if (!yes) return;
    await api.delete(url`/users/${user.id}`);
    toast(`${user.name} is deleted.`);
    await users.reload();
  });
  return (
    <Card
      title="Users"
      help="Members may do everything in all projects, but not manage users."
      actions={
        <Button kind="main" onClick={() => setInviting(true)}>
          <UserPlus size={16} aria-hidden="true" /> Invite
        </Button>
      }
    >
      <Failure error={deleting.error ?? again.error} />
      <Show of={users} lines={3}>
        {({ users: all }) => (
          <UserTable
            users={all}
            onAgain={(user) => void again.run(user)}
            onDelete={(user) => void deleting.run(user)}
          />
        )}
      </Show>
      {inviting && <Invite onClose={() => setInviting(false)} onInvited={take} />}
      {invited && (
        <SecretDialog
          title={`Invitation for ${invited.user.name}`}
          secret={invited.invitation}
          label="Copy the link"
          onClose={() => setInvited(undefined)}
        >
          <p>
            Give them this link: it is shown this once, works once, and is valid for a week. Whoever opens it
            chooses the password.
          </p>
        </SecretDialog>
      )}
    </Card>
  );
}

function UserTable({
  users,
  onAgain,
  onDelete,
}: {
  users: Member[];
  onAgain: (user: Member) => void;
  onDelete: (user: Member) => void;
}) {
  return (
    <div class="table">
      <table>
        <thead>
          <tr>
            <th scope="col">Name</th>
            <th scope="col">Role</th>
            <th scope="col">Since</th>
            <th scope="col">
              <span class="visually-hidden">Invite again or delete</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {users.map((user) => (
            <tr key={user.id}>
              <td>{user.name}</td>
              <td>
                {user.role === "owner" || user.has_password ? (
                  user.role
                ) : (
                  <span class="badge warn">invited</span>
                )}
              </td>
              <td class="soft">
                <Time at={user.created_at} />
              </td>
              <td class="number">
                {user.role === "member" && (
                  <>
                    <IconButton small label={`Invite ${user.name} again`} onClick={() => onAgain(user)}>
                      <RotateCw size={16} aria-hidden="true" />
                    </IconButton>
                    <IconButton small label={`Delete ${user.name}`} onClick={() => onDelete(user)}>
                      <Trash2 size={16} aria-hidden="true" />
                    </IconButton>
                  </>
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Invite({ onInvited, onClose }: { onInvited: (given: Invited) => void; onClose: () => void }) {
  const [name, setName] = useState("");
  const inviting = useAction(async () => onInvited(await api.post("/users", { name: name.trim() })));
  return (
    <FormDialog title="Invite a member" action="Make an invitation" doing={inviting} onClose={onClose}>
      <TextField label="Name" help="They log in with it." required autofocus value={name} onValue={setName} />
    </FormDialog>
  );
}
