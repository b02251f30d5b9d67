import { useEffect, useState } from "preact/hooks";
import { Link, useLocation } from "wouter-preact";
import { Button } from "../components/button";
import { Failure } from "../components/feedback";
import { NewPasswordFields, NOT_THE_SAME } from "../components/new-password";
import { api } from "../lib/api";
import { useAction } from "../lib/loading";
import { session } from "../lib/session";
import type { Session } from "../lib/types";

/** Accept an invitation: choose a password and be logged in. The code stands behind the address's `#`. */
export default function Invitation() {
  const [, go] = useLocation();
  const [code] = useState(() => location.hash.slice(1));
  const [password, setPassword] = useState("");
  const [again, setAgain] = useState("");
  const [wrong, setWrong] = useState<string>();
  const accepting = useAction(async () => {
    session.value = await api.post<Session>("/invitations/accept", { code, password });
    go("/", { replace: true });
  });
  useEffect(() => {
    document.title = "Invitation · microhost";
  }, []);
  return (
    <div class="alone">
      <main>
        <h1>You are invited</h1>
        <p>Choose a password for this host's console. The link that brought you here works once.</p>
        <form
          onSubmit={(event) => {
            event.preventDefault();
            const differ = password !== again;
            setWrong(differ ? NOT_THE_SAME : undefined);
            if (!differ) void accepting.run();
          }}
        >
          <NewPasswordFields
            password={password}
            again={again}
            wrong={wrong}
            autofocus
            onPassword={setPassword}
            onAgain={setAgain}
          />
          <Failure error={accepting.error} />
          <Button type="submit" kind="main" busy={accepting.busy}>
            Accept
          </Button>
        </form>
        <Link href="/">To the console</Link>
      </main>
    </div>
  );
}
