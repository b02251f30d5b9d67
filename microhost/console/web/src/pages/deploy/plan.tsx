import { useState } from "preact/hooks";
import { Link } from "wouter-preact";
import { Button } from "../../components/button";
import { Failure, Notice, Show } from "../../components/feedback";
import { SelectField, TextField } from "../../components/field";
import { Card } from "../../components/page";
import { url } from "../../lib/api";
import { useAction, useLoad } from "../../lib/loading";
import { recall } from "../../lib/preferences";
import { postTold } from "../../lib/told";
import type { Micro, Project, Repository } from "../../lib/types";
import { Done, Going, Notes, Refused } from "./outcome";

const COMMIT_SHOWN = 12;
const PHASES: Record<string, string> = {
  fetch: "Fetching the repository",
  waiting: "Waiting for its turn",
  validate: "Checking the files",
  dependencies: "Installing packages",
  publish: "Keeping the code",
  start: "Starting",
  switch: "Going live",
};

/** What a repository asks for, to be filled in and deployed. Whatever it says is shown as text. */
export function Plan({ repo, repository }: { repo: string; repository: Repository }) {
  const projects = useLoad<{ projects: Project[] }>("/projects");
  return (
    <>
      <Card title={repository.name}>
        <div class="stack">
          {repository.description && <p>{repository.description}</p>}
          <Facts repository={repository} />
          <Notes texts={repository.notes} />
        </div>
      </Card>
      <Show of={projects} lines={2}>
        {({ projects: all }) =>
          all.length ? (
            <Form repo={repo} repository={repository} projects={all} />
          ) : (
            <Notice>
              There is no project yet. <Link href="/?new">Create one</Link>, then come back.
            </Notice>
          )
        }
      </Show>
    </>
  );
}

function Facts({ repository }: { repository: Repository }) {
  return (
    <dl class="facts">
      <dt>Repository</dt>
      <dd>
        <a href={repository.url} target="_blank" rel="noreferrer">
          {repository.url}
        </a>
      </dd>
      <dt>Branch</dt>
      <dd>{repository.branch}</dd>
      <dt>Commit</dt>
      <dd>
        <code title={repository.commit}>{repository.commit.slice(0, COMMIT_SHOWN)}</code>
      </dd>
      <dt>Runtime</dt>
      <dd>{repository.runtime}</dd>
    </dl>
  );
}

function Form({ repo, repository, projects }: { repo: string; repository: Repository; projects: Project[] }) {
  const names = projects.map(({ name }) => name);
  const last = recall("project") ?? "";
  const [project, setProject] = useState(names.includes(last) ? last : (names[0] ?? ""));
  const [name, setName] = useState(repository.name);
  const [cron, setCron] = useState(repository.cron);
  const [values, setValues] = useState<Record<string, string>>(
    Object.fromEntries(repository.env.map(({ key, value }) => [key, value])),
  );
  const [phase, setPhase] = useState("");
  const [log, setLog] = useState<string[]>([]);
  const [made, setMade] = useState<Micro>();
  const deploying = useAction(async () => {
    setLog([]);
    setPhase("fetch");
    const wanted = { repo, commit: repository.commit, name: name.trim(), env: values, cron: cron.trim() };
    const { micro } = await postTold<{ micro: Micro }>(
      url`/projects/${project}/repositories`,
      wanted,
      ({ event, data }) => {
        if (event === "phase") setPhase(String(data.phase));
        if (event === "log") setLog((former) => [...former, String(data.line)]);
      },
    );
    setMade(micro);
  });
  if (made) return <Done micro={made} />;
  return (
    <Card title="Deploy it">
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          void deploying.run();
        }}
      >
        <Notice kind="warn">
          Its code becomes a Micro of the project: it can read and change the project's Bases and Drives.
          Deploy what you trust.
        </Notice>
        <SelectField label="Into the project" options={names} value={project} onValue={setProject} />
        <TextField label="Name" help="Of the new Micro." required value={name} onValue={setName} />
        {repository.env.map(({ key, description, required }) => (
          <TextField
            key={key}
            label={required ? `${key} (required)` : key}
            help={description}
            required={required}
            spellcheck={false}
            value={values[key]}
            onValue={(value) => setValues((former) => ({ ...former, [key]: value }))}
          />
        ))}
        <TextField
          label="Cron"
          help="A rate such as 3 minutes, or a cron expression of six fields. Leave it empty for no schedule."
          spellcheck={false}
          value={cron}
          onValue={setCron}
        />
        <Failure error={deploying.error} />
        <Refused error={deploying.error} />
        {deploying.busy && <Going phase={PHASES[phase] ?? phase} lines={log} />}
        <footer class="row end">
          <Button type="submit" kind="main" busy={deploying.busy}>
            Deploy
          </Button>
        </footer>
      </form>
    </Card>
  );
}
