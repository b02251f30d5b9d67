import { useEffect, useReducer, useRef, useState } from "preact/hooks";
import { Link, useLocation } from "wouter-preact";
import { Button } from "../components/button";
import { confirm } from "../components/dialog";
import { Empty, Failure, Show, toast } from "../components/feedback";
import { TextField, Toggle } from "../components/field";
import { Card, Page } from "../components/page";
import { Copy, Time } from "../components/showing";
import { api, url } from "../lib/api";
import { bytes } from "../lib/format";
import { useAction } from "../lib/loading";
import { paths } from "../lib/paths";
import { useProject } from "../lib/project";
import type { DriveSummaries, Project } from "../lib/types";
import { OpenDrive } from "./drive/open-drive";
import styles from "./micro/micro.module.css";

/** What a project is, what its Drives take, and its end. */
export default function ProjectSettings() {
  const { name, project, drives } = useProject();
  const [opening, setOpening] = useState(false);
  return (
    <Page title="Project settings">
      <Card title="About">
        <Show of={project} lines={3}>
          {(known) => <Facts project={known} />}
        </Show>
      </Card>
      {project.data && <General key={project.data.id} project={project.data} />}
      <Card
        title="Drives"
        actions={
          <Button small onClick={() => setOpening(true)}>
            Open a Drive
          </Button>
        }
      >
        <Show of={drives} lines={3}>
          {(all) => <Drives project={name} all={all} />}
        </Show>
      </Card>
      {project.data && <End project={project.data} />}
      {opening && <OpenDrive project={name} onClose={() => setOpening(false)} />}
    </Page>
  );
}

function Facts({ project }: { project: Project }) {
  return (
    <dl class="facts">
      <dt>Name</dt>
      <dd>{project.name}</dd>
      <dt>ID</dt>
      <dd class="row">
        <code>{project.id}</code> <Copy text={project.id} label="Copy the project ID" />
      </dd>
      <dt>Made</dt>
      <dd>
        <Time at={project.created_at} />
      </dd>
    </dl>
  );
}

function General({ project }: { project: Project }) {
  const view = useProject();
  const [name, setName] = useState(project.name);
  const [, go] = useLocation();
  // a change whose answer comes after one has left the page must not lead back to it
  const here = useRef(true);
  useEffect(
    () => () => {
      here.current = false;
    },
    [],
  );
  const changing = useAction(async (change: Partial<Project>) => {
    const changed = await api.patch<Project>(url`/projects/${project.id}`, change);
    toast("Saved.");
    if (changed.name === project.name || view.name === project.id) await view.project.reload();
    else if (here.current) go(paths.projectSettings(changed), { replace: true });
  });
  const builds = async (builds_allowed: boolean) => {
    const body = (
      <p>Code of packages that a Micro asks for then runs in a sandbox when they are installed.</p>
    );
    const sure = !builds_allowed || (await confirm({ title: "Allow builds?", body, action: "Allow builds" }));
    if (sure) await changing.run({ builds_allowed });
    redraw(null);
  };
  // a switch that was touched and whose question was declined goes back to what is
  const [, redraw] = useReducer<number, null>((count) => count + 1, 0);
  return (
    <Card title="General">
      <div class="stack">
        <form
          class={styles.inline}
          onSubmit={(event) => {
            event.preventDefault();
            void changing.run({ name: name.trim() });
          }}
        >
          <TextField
            label="Name"
            help="The addresses of the console's pages change with it; Micros, keys and data stay as they are."
            required
            value={name}
            onValue={setName}
          />
          <Button type="submit" kind="main" busy={changing.busy} disabled={name.trim() === project.name}>
            Rename
          </Button>
        </form>
        <Toggle
          label="Packages may be built"
          help="Off: Micros are installed from ready-made packages only, and none runs code of its own meanwhile."
          checked={project.builds_allowed}
          disabled={changing.busy}
          onChange={(allowed) => void builds(allowed)}
        />
        <Failure error={changing.error} />
      </div>
    </Card>
  );
}

function Drives({ project, all }: { project: string; all: DriveSummaries }) {
  if (!all.drives.length)
    return (
      <Empty title="There is no Drive yet">
        <p>A Drive begins with the first file in it.</p>
      </Empty>
    );
  return (
    <div class="stack">
      <div class="table">
        <table>
          <thead>
            <tr>
              <th scope="col">Drive</th>
              <th scope="col" class="number">
                Files
              </th>
              <th scope="col" class="number">
                Size
              </th>
            </tr>
          </thead>
          <tbody>
            {all.drives.map((drive) => (
              <tr key={drive.name}>
                <td>
                  <Link href={paths.drive(project, drive.name)}>{drive.name}</Link>
                </td>
                <td class="number">{drive.files.toLocaleString("en")}</td>
                <td class="number">{bytes(drive.bytes)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p class="help">
        {bytes(all.used_bytes)} of {bytes(all.quota_bytes)} are taken on the disk, unfinished uploads
        included.
      </p>
    </div>
  );
}

function End({ project }: { project: Project }) {
  const [, go] = useLocation();
  const deleting = useAction(async () => {
    const yes = await confirm({
      title: `Delete ${project.name}?`,
      body: "Its Micros, their code and records, its Bases, its Drives and its keys are gone for good.",
      action: "Delete the project",
      danger: true,
      typed: project.name,
    });
    if (!yes) return;
    await api.delete(url`/projects/${project.id}`);
    toast(`${project.name} is deleted.`);
    go(paths.home());
  });
  return (
    <Card
      title="Delete the project"
      help="With all its Micros, Bases, Drives and keys. This cannot be undone."
      actions={
        <Button kind="danger" busy={deleting.busy} onClick={() => void deleting.run()}>
          Delete
        </Button>
      }
    >
      <Failure error={deleting.error} />
    </Card>
  );
}
