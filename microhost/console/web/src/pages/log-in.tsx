import { useEffect, useState } from "preact/hooks";
import { Button } from "../components/button";
import { Failure } from "../components/feedback";
import { TextField } from "../components/field";
import { Tabs } from "../components/tabs";
import { useAction } from "../lib/loading";
import { logIn } from "../lib/session";

const WAYS = ["Password", "Access token"] as const;

/** Log in with a name and a password, or with an access token. */
export function LogInPage() {
  const [way, setWay] = useState<string>("Password");
  const [name, setName] = useState("owner");
  const [secret, setSecret] = useState("");
  const byToken = way === "Access token";
  const entering = useAction(() =>
    logIn(byToken ? { token: secret.trim() } : { name: name.trim(), password: secret }),
  );
  useEffect(() => {
    document.title = "Log in · microhost";
  }, []);
  return (
    <div class="alone">
      <main>
        <h1>Log in</h1>
        <Tabs
          label="How to log in"
          tabs={WAYS}
          chosen={way}
          onChoose={(chosen) => {
            setWay(chosen);
            setSecret("");
            entering.clear();
          }}
        >
          <form
            onSubmit={(event) => {
              event.preventDefault();
              void entering.run();
            }}
          >
            {byToken ? (
              <TextField
                label="Access token"
                help={
                  <>
                    On the server, <code>microhost token</code> prints the owner's.
                  </>
                }
                type="password"
                required
                value={secret}
                onValue={setSecret}
              />
            ) : (
              <>
                <TextField label="Name" autocomplete="username" required value={name} onValue={setName} />
                <TextField
                  label="Password"
                  help="No password yet? Log in with the access token once, and set one."
                  type="password"
                  autocomplete="current-password"
                  required
                  value={secret}
                  onValue={setSecret}
                />
              </>
            )}
            <Failure error={entering.error} />
            <Button type="submit" kind="main" busy={entering.busy}>
              Log in
            </Button>
          </form>
        </Tabs>
      </main>
    </div>
  );
}
