import { FolderPlus } from "lucide-preact";
import { useState } from "preact/hooks";
import { Link, useLocation, useSearchParams } from "wouter-preact";
import { Button } from "../components/button";
import { FormDialog } from "../components/dialog";
import { Empty, Notice, Show } from "../components/feedback";
import { TextField } from "../components/field";
import { Page } from "../components/page";
import { Copy, Time } from "../components/showing";
import { api } from "../lib/api";
import { useAction, useLoad } from "../lib/loading";
import { paths } from "../lib/paths";
import { session } from "../lib/session";
import type { Project } from "../lib/types";
import styles from "./home.module.css";

/** All projects, and the way to a new one. */
export default function Home() {
  const projects = useLoad<{ projects: Project[] }>("/projects");
  const [search, setSearch] = useSearchParams();
  const adding = search.has("new");
  return (
    <Page
      title="Projects"
      actions={
        <Button kind="main" onClick={() => setSearch({ new: "" })}>
          <FolderPlus size={16} aria-hidden="true" /> New project
        </Button>
      }
    >
      {session.value?.has_password === false && (
        <Notice>
          You logged in with an access token.{" "}
          <Link href={`${paths.settings()}/password`}>Set a password</Link> to log in without it.
        </Notice>
      )}
      <Show of={projects}>
        {({ projects }) =>
          projects.length ? (
            <ul class={styles.projects}>
              {projects.map((project) => (
                <Item key={project.id} project={project} />
              ))}
            </ul>
          ) : (
            <Empty title="Create your first project">
              <p>A project holds Micros, Bases and Drives that belong together and share their keys.</p>
              <Button kind="main" onClick={() => setSearch({ new: "" })}>
                Create a project
              </Button>
            </Empty>
          )
        }
      </Show>
      {adding && <NewProject onClose={() => setSearch({}, { replace: true })} />}
    </Page>
  );
}

function Item({ project }: { project: Project }) {
  return (
    <li class="card">
      <h2>
        <Link href={paths.project(project)}>{project.name}</Link>
      </h2>
      <p class="row soft">
        <span class="mono">{project.id}</span>
        <Copy text={project.id} label="Copy the project's id" />
      </p>
      <p class="help">
        made <Time at={project.created_at} />
      </p>
    </li>
  );
}

function NewProject({ onClose }: { onClose: () => void }) {
  const [name, setName] = useState("");
  const [, go] = useLocation();
  const creating = useAction(async () => {
    const project = await api.post<Project>("/projects", { name: name.trim() });
    go(paths.project(project), { replace: true });
  });
  return (
    <FormDialog title="New project" action="Create" doing={creating} onClose={onClose}>
      <TextField
        label="Name"
        help="It stands in addresses and in the deta command. Without / \ ? # and %."
        required
        autofocus
        value={name}
        onValue={setName}
      />
    </FormDialog>
  );
}
