import { useEffect, useState } from "preact/hooks";
import { Link, useSearchParams } from "wouter-preact";
import { Button } from "../components/button";
import { Failure, Notice } from "../components/feedback";
import { TextField } from "../components/field";
import { Time } from "../components/showing";
import { api, url } from "../lib/api";
import { useAction, useLoad } from "../lib/loading";
import type { Login } from "../lib/types";

/** Approve or deny the access token that somebody's `deta login` asks for. */
export default function TerminalLogin() {
  const [search] = useSearchParams();
  const [code, setCode] = useState(search.get("code") ?? "");
  const [wanted, setWanted] = useState(code);
  const login = useLoad<Login>(wanted ? url`/login/codes/${wanted}` : null);
  const deciding = useAction(async (approve: boolean) =>
    login.replace(await api.post<Login>(url`/login/codes/${wanted}`, { approve })),
  );
  useEffect(() => {
    document.title = "Log in a terminal · microhost";
  }, []);

  return (
    <div class="alone">
      <main>
        <h1>Log in a terminal</h1>
        <p>
          Somebody typed <code>deta login</code>. If that was you, compare the code with the one in the
          terminal.
        </p>
        <form
          onSubmit={(event) => {
            event.preventDefault();
            setWanted(code.trim());
          }}
        >
          <TextField
            label="Code"
            help="Eight letters, as the terminal shows them."
            maxLength={9}
            autocapitalize="characters"
            spellcheck={false}
            required
            value={code}
            onValue={setCode}
          />
          <Failure error={login.error} />
          {(!login.data || wanted !== code.trim()) && (
            <Button type="submit" kind="main" busy={login.loading}>
              Continue
            </Button>
          )}
        </form>
        {login.data && wanted === code.trim() && (
          <>
            <p>This terminal asks for an access token of yours, which opens everything on this host:</p>
            <dl class="facts">
              <dt>Name</dt>
              <dd>{login.data.name}</dd>
              <dt>Address</dt>
              <dd>{login.data.address}</dd>
              <dt>Asked</dt>
              <dd>
                <Time at={login.data.created_at} />
              </dd>
            </dl>
            <Failure error={deciding.error} />
            {login.data.state === "pending" ? (
              <div class="row">
                <Button kind="main" busy={deciding.busy} onClick={() => void deciding.run(true)}>
                  Approve
                </Button>
                <Button onClick={() => void deciding.run(false)}>Deny</Button>
              </div>
            ) : (
              <Outcome state={login.data.state} />
            )}
          </>
        )}
        <Link href="/">To the console</Link>
      </main>
    </div>
  );
}

function Outcome({ state }: { state: Login["state"] }) {
  if (state === "approved" || state === "taken")
    return <Notice kind="good">Approved. Return to the terminal; this page may be closed.</Notice>;
  if (state === "denied") return <Notice kind="warn">Denied. The terminal gets no token.</Notice>;
  return <Notice kind="warn">This login has expired. Begin another one in the terminal.</Notice>;
}
