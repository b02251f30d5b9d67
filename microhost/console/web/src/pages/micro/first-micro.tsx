import { Plus, Sparkles } from "lucide-preact";
import { Button } from "../../components/button";
import { Card } from "../../components/page";
import { CodeLine } from "../../components/showing";
import styles from "./micro.module.css";
import { deta, shellWord } from "./shell";

interface FirstMicroProps {
  project: string;
  busy: boolean;
  onSample: () => void;
  onNew: () => void;
}

/** What to do in a project that has no Micro: by one click, or by three commands. */
export function FirstMicro({ project, busy, onSample, onNew }: FirstMicroProps) {
  return (
    <div class={styles.columns}>
      <Card title="Try it" help="See in a moment what a Micro is.">
        <div class="stack">
          <p>
            A sample with a page, a guest book in a Base, a handler to run and one for a schedule. Its code is
            yours to change.
          </p>
          <Button kind="main" busy={busy} onClick={onSample}>
            <Sparkles size={16} aria-hidden="true" /> Deploy a sample Micro
          </Button>
          <p class="help">Or make an empty one, and send its code later.</p>
          <Button onClick={onNew}>
            <Plus size={16} aria-hidden="true" /> Make an empty Micro
          </Button>
        </div>
      </Card>
      <Card title="Deploy your own" help="In a terminal, in the directory with your main.py or index.js.">
        <ol class={styles.steps}>
          {commandsFor(project).map(([what, command]) => (
            <li key={command}>
              <p>{what}</p>
              <CodeLine text={command} label={`Copy: ${what}`} />
            </li>
          ))}
        </ol>
      </Card>
    </div>
  );
}

function commandsFor(project: string): [what: string, command: string][] {
  return [
    ["Install the deta command", "pip install microhost"],
    ["Log in with this browser", deta("login")],
    ["Make a Micro of your code", deta(`new --project ${shellWord(project)}`)],
  ];
}
