import { useState } from "preact/hooks";
import { Button } from "../../components/button";
import { Failure, toast } from "../../components/feedback";
import { TextField } from "../../components/field";
import { NewPasswordFields, NOT_THE_SAME } from "../../components/new-password";
import { Card } from "../../components/page";
import { api } from "../../lib/api";
import { useAction } from "../../lib/loading";
import { session } from "../../lib/session";
import type { Session } from "../../lib/types";

/** Set a password, or change it. */
export function PasswordTab() {
  const had = session.value?.has_password ?? false;
  const [current, setCurrent] = useState("");
  const [password, setPassword] = useState("");
  const [again, setAgain] = useState("");
  const [wrong, setWrong] = useState<string>();
  const saving = useAction(async () => {
    session.value = await api.put<Session>("/session/password", had ? { password, current } : { password });
    setCurrent("");
    setPassword("");
    setAgain("");
    toast(had ? "The password is changed." : "The password is set.");
  });
  return (
    <Card
      title={had ? "Change the password" : "Set a password"}
      help="With it you log in here by your name. Your sessions in other browsers end; access tokens stay valid."
    >
      <form
        class="stack"
        style={{ maxWidth: "24rem" }}
        onSubmit={(event) => {
          event.preventDefault();
          const differ = password !== again;
          setWrong(differ ? NOT_THE_SAME : undefined);
          if (!differ) void saving.run();
        }}
      >
        <input type="text" autocomplete="username" value={session.value?.user.name ?? ""} hidden readOnly />
        {had && (
          <TextField
            label="Current password"
            type="password"
            autocomplete="current-password"
            required
            value={current}
            onValue={setCurrent}
          />
        )}
        <NewPasswordFields
          password={password}
          again={again}
          wrong={wrong}
          onPassword={setPassword}
          onAgain={setAgain}
        />
        <Failure error={saving.error} />
        <div class="row">
          <Button type="submit" kind="main" busy={saving.busy}>
            {had ? "Change" : "Set"}
          </Button>
        </div>
      </form>
    </Card>
  );
}
