import { Card } from "../../components/page";
import styles from "./micro.module.css";

export const EXAMPLES = [
  ["10 minutes", "Every 10 minutes"],
  ["2 hours", "Every 2 hours"],
  ["1 day", "Every day, counted from now"],
  ["0 10 * * ? *", "Every day at 10:00"],
  ["0 18 ? * MON-FRI *", "Monday to Friday at 18:00"],
  ["0 8 1 * ? *", "Every 1st of the month at 8:00"],
  ["0/5 8-17 ? * MON-FRI *", "Every 5 minutes from 8:00 to 17:55, Monday to Friday"],
] as const;

const FIELDS = [
  ["Minutes", "0-59", ", - * /"],
  ["Hours", "0-23", ", - * /"],
  ["Day of month", "1-31", ", - * / ? L W"],
  ["Month", "1-12 or JAN-DEC", ", - * /"],
  ["Day of week", "1-7 or SUN-SAT", ", - * / ? L #"],
  ["Year", "1970-2199", ", - * /"],
] as const;

/** How a schedule is written, and the code that it calls. */
export function CronHelp() {
  return (
    <Card title="How to write a schedule">
      <div class={styles.help}>
        <p>
          A <strong>rate</strong> is a number and a unit (minute, hour, day): <code>1 minute</code>,{" "}
          <code>5 hours</code>. It counts from the moment it is set.
        </p>
        <p>
          A <strong>cron expression</strong> has six fields, in UTC. One of day of month and day of week must
          be <code>?</code>.
        </p>
        <Examples />
        <details>
          <summary>The six fields</summary>
          <Fields />
        </details>
        <details>
          <summary>The code that is called</summary>
          <pre class={styles.scroll}>{CODE}</pre>
        </details>
      </div>
    </Card>
  );
}

const CODE = `from deta import App
from fastapi import FastAPI

app = App(FastAPI())

@app.lib.cron()
def tick(event):
    print("it is", event.time)`;

function Examples() {
  return (
    <div class="table">
      <table>
        <thead>
          <tr>
            <th>Example</th>
            <th>Meaning</th>
          </tr>
        </thead>
        <tbody>
          {EXAMPLES.map(([expression, meaning]) => (
            <tr key={expression}>
              <td>
                <code>{expression}</code>
              </td>
              <td>{meaning}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Fields() {
  return (
    <div class="table">
      <table>
        <thead>
          <tr>
            <th>Field</th>
            <th>Values</th>
            <th>Signs</th>
          </tr>
        </thead>
        <tbody>
          {FIELDS.map(([field, values, signs]) => (
            <tr key={field}>
              <td>{field}</td>
              <td>{values}</td>
              <td>
                <code>{signs}</code>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <p class="help">
        <code>,</code> lists, <code>-</code> ranges, <code>*</code> every, <code>0/15</code> from 0 in steps
        of 15, <code>L</code> the last, <code>15W</code> the weekday nearest to the 15th, <code>3#2</code> the
        second Tuesday.
      </p>
    </div>
  );
}
