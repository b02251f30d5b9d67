import { useState } from "preact/hooks";
import { Link, useLocation } from "wouter-preact";
import { Button } from "../components/button";
import { confirm } from "../components/dialog";
import { Empty, Failure, Show, toast } from "../components/feedback";
import { Card, Page } from "../components/page";
import { Copy, Time } from "../components/showing";
import { api, url } from "../lib/api";
import { bytes } from "../lib/format";
import { useAction } from "../lib/loading";
import { paths } from "../lib/paths";
import { useProject } from "../lib/project";
import type { DriveSummaries, Project } from "../lib/types";
import { OpenDrive } from "./drive/open-drive";

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
      <dt>Dependencies</dt>
      <dd>
        {project.builds_allowed
          ? "May run code of their own when they are installed."
          : "Are installed from ready-made packages only; none runs code of its own while it is installed."}
      </dd>
    </dl>
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
