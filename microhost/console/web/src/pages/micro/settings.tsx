import { useReducer, useState } from "preact/hooks";
import { useLocation } from "wouter-preact";
import { Button } from "../../components/button";
import { confirm } from "../../components/dialog";
import { Failure, toast } from "../../components/feedback";
import { SelectField, TextField, Toggle } from "../../components/field";
import { Card } from "../../components/page";
import { api } from "../../lib/api";
import { useAction, useLoad } from "../../lib/loading";
import { paths } from "../../lib/paths";
import type { Doctor, Micro } from "../../lib/types";
import { Egress } from "./egress";
import styles from "./micro.module.css";
import { apiOf, type PartProps, partOf } from "./place";

const TIMEOUT_S = { min: 1, max: 900 };
const MEMORY_MB = { min: 64, max: 4096 };
const CONCURRENCY = { min: 1, max: 32 };

/** What can be set of a Micro. */
export default function Settings({ micro, reload }: PartProps) {
  return (
    <>
      <Switches micro={micro} reload={reload} />
      <General micro={micro} reload={reload} />
      <Egress micro={micro} reload={reload} />
      <Packages micro={micro} reload={reload} />
      <Delete micro={micro} reload={reload} />
    </>
  );
}

/** Access and Visor are changed by one touch; what opens the Micro to everybody is asked first. */
function Switches({ micro, reload }: PartProps) {
  // a switch that was touched and whose question was declined goes back to what is
  const [, redraw] = useReducer<number, null>((count) => count + 1, 0);
  const changing = useAction(async (change: Partial<Micro>, said: string) => {
    await api.patch(apiOf(micro), change);
    await reload();
    toast(said);
  });
  const setAccess = async (closed: boolean) => {
    if (closed) return changing.run({ http_auth: true }, "Deta Access is on.");
    const body = <p>Everybody who knows its address can call it, without a key and without logging in.</p>;
    const sure = await confirm({ title: "Open this Micro to everybody?", body, action: "Open it" });
    if (sure) await changing.run({ http_auth: false }, "The Micro is public.");
    redraw(null);
  };
  return (
    <Card title="Access and records">
      <div class="stack">
        <Failure error={changing.error} />
        <Toggle
          label="Deta Access"
          help="Only you, and who has an API key, may call it. Off: the Micro is public."
          checked={micro.http_auth}
          disabled={changing.busy}
          onChange={(closed) => void setAccess(closed)}
        />
        <Toggle
          label="Visor"
          help="Keep headers and bodies of requests and responses for 14 days. Logs are kept anyway."
          checked={micro.visor}
          disabled={changing.busy}
          onChange={(visor) => void changing.run({ visor }, visor ? "Visor is on." : "Visor is off.")}
        />
      </div>
    </Card>
  );
}

function General({ micro, reload }: PartProps) {
  const [name, setName] = useState(micro.name);
  const [runtime, setRuntime] = useState(micro.runtime);
  const [timeout, setTimeout] = useState(String(micro.timeout_s));
  const [memory, setMemory] = useState(String(micro.memory_mb));
  const [concurrency, setConcurrency] = useState(String(micro.concurrency));
  const [path, go] = useLocation();
  const doctor = useLoad<Doctor>("/doctor");
  const runtimes = [...new Set([micro.runtime, ...(doctor.data?.runtimes ?? []).map(({ name }) => name)])];
  const wanted = changesOf(micro, {
    name: name.trim(),
    runtime,
    timeout_s: Number(timeout),
    memory_mb: Number(memory),
    concurrency: Number(concurrency),
  });
  const saving = useAction(async () => {
    const changed = await api.patch<Micro>(apiOf(micro), wanted);
    if (changed.name !== micro.name && path === partOf(micro, "settings"))
      go(partOf(changed, "settings"), { replace: true });
    await reload();
    toast(["Saved.", ...changed.warnings].join(" "));
  });
  return (
    <Card title="General">
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          void saving.run();
        }}
      >
        <div class={styles.fields}>
          <TextField label="Name" required value={name} onValue={setName} />
          <SelectField
            label="Runtime"
            help="From the next deployment on."
            options={runtimes}
            value={runtime}
            onValue={setRuntime}
          />
          <TextField
            label="Time limit in seconds"
            help="For each request."
            type="number"
            required
            {...TIMEOUT_S}
            step="any"
            value={timeout}
            onValue={setTimeout}
          />
          <TextField
            label="Memory limit in MiB"
            help="For each request, from the next start on."
            type="number"
            required
            {...MEMORY_MB}
            value={memory}
            onValue={setMemory}
          />
          {runtime.startsWith("node") || micro.concurrency > 1 ? (
            <TextField
              label="Requests at once in one process"
              help="1: each has a process of its own. More share its memory, its limits and its end."
              type="number"
              required
              {...CONCURRENCY}
              value={concurrency}
              onValue={setConcurrency}
            />
          ) : null}
        </div>
        <Failure error={saving.error} />
        <div class="row end">
          <Button type="submit" kind="main" busy={saving.busy} disabled={!Object.keys(wanted).length}>
            Save
          </Button>
        </div>
      </form>
    </Card>
  );
}

/** Only what differs is sent. */
function changesOf(micro: Micro, wanted: Partial<Micro>): Partial<Micro> {
  return Object.fromEntries(
    Object.entries(wanted).filter(([name, value]) => micro[name as keyof Micro] !== value),
  );
}

function Packages({ micro, reload }: PartProps) {
  const [date, setDate] = useState(micro.packages_as_of ?? "");
  const saving = useAction(async () => {
    const changed = await api.patch<Micro>(apiOf(micro), { packages_as_of: date || null });
    await reload();
    toast(["Saved.", ...changed.warnings].join(" "));
  });
  const purging = useAction(() => api.delete(`${apiOf(micro)}/dependencies`));
  const purge = async () => {
    const body = (
      <p>The next deployment finds and installs its packages anew. What is live goes on as it is.</p>
    );
    if (!(await confirm({ title: "Forget the installed packages?", body, action: "Forget them" }))) return;
    if (await purging.run()) toast("The next deployment installs its packages anew.");
  };
  return (
    <Card title="Packages">
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          void saving.run();
        }}
      >
        <div class={styles.inline}>
          <TextField
            label="As of"
            help="Deployments install the newest versions from before this day; empty: those of the day."
            type="date"
            value={date}
            onValue={setDate}
          />
          <Button
            type="submit"
            kind="main"
            busy={saving.busy}
            disabled={date === (micro.packages_as_of ?? "")}
          >
            Save
          </Button>
        </div>
        <Failure error={saving.error} />
        <div class="row between">
          <p class="help">
            A deployment with the same requirements uses the packages that were installed before.
          </p>
          <Button busy={purging.busy} onClick={() => void purge()}>
            Forget installed packages
          </Button>
        </div>
        <Failure error={purging.error} />
      </form>
    </Card>
  );
}

function Delete({ micro, reload }: PartProps) {
  const [, go] = useLocation();
  const deleting = useAction(async () => {
    await api.delete(apiOf(micro));
    go(paths.project(micro.project_name), { replace: true });
    toast(`The Micro “${micro.name}” was deleted.`);
    await reload().catch(() => undefined);
  });
  const ask = async () => {
    const sure = await confirm({
      title: `Delete the Micro “${micro.name}”?`,
      body: (
        <p>
          Its code, deployments, variables, keys, schedule and records are deleted for ever. The project's
          Bases and Drives stay.
        </p>
      ),
      action: "Delete it",
      danger: true,
      typed: micro.name,
    });
    if (sure) await deleting.run();
  };
  return (
    <Card title="Delete this Micro" help="It cannot be brought back.">
      <Failure error={deleting.error} />
      <Button kind="danger" busy={deleting.busy} onClick={() => void ask()}>
        Delete the Micro
      </Button>
    </Card>
  );
}
