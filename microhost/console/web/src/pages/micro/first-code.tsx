import { Card } from "../../components/page";
import { CodeLine } from "../../components/showing";
import type { Micro } from "../../lib/types";
import styles from "./micro.module.css";
import { deta, shellWord } from "./shell";

/** How code comes into a Micro that has none. */
export function FirstCode({ micro }: { micro: Micro }) {
  const directory = shellWord(micro.name);
  const commands = [
    [
      "Take the Micro into a new directory",
      deta(`clone --name ${directory} --project ${shellWord(micro.project_name)}`),
    ],
    ["Write your app there: a main.py or index.js with an app in it", `cd ${directory}`],
    ["Send it; it is live when the command ends", "deta deploy"],
  ] as const;
  return (
    <Card title="Nothing is deployed here yet">
      <ol class={styles.steps}>
        {commands.map(([what, command]) => (
          <li key={command}>
            <p>{what}</p>
            <CodeLine text={command} label={`Copy the command: ${what}`} />
          </li>
        ))}
      </ol>
    </Card>
  );
}
