import {
  Box,
  Database,
  FolderOpen,
  House,
  KeyRound,
  LayoutGrid,
  Plus,
  Settings,
  SlidersHorizontal,
} from "lucide-preact";
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { Link, useLocation } from "wouter-preact";
import { SelectField } from "../components/field";
import { lazy } from "../lib/lazy";
import { useLoad } from "../lib/loading";
import { paths } from "../lib/paths";
import type { ProjectView } from "../lib/project";
import type { Project } from "../lib/types";

/** Where one can go: the projects, and of the current one its Micros, Bases and Drives. */
export function Sidebar({ view, open }: { view: ProjectView | null; open: boolean }) {
  const project = view?.project.data;
  return (
    <nav class={open ? "sidebar open" : "sidebar"} aria-label="Main">
      <Link href="/" class="brand">
        <img src="/icon.svg" width={26} height={26} alt="" /> microhost
      </Link>
      <ProjectSwitcher current={project} />
      {view && project && <ProjectLinks view={view} project={project} />}
      <ul class="foot">
        <Item to="/" icon={<House size={16} aria-hidden="true" />} exact>
          All projects
        </Item>
        <Item to={paths.settings()} icon={<Settings size={16} aria-hidden="true" />}>
          Settings
        </Item>
      </ul>
    </nav>
  );
}

const OpenBase = lazy<{ onClose: () => void }>(async () => ({
  default: (await import("../pages/base/open-base")).OpenBaseDialog,
}));
const OpenDrive = lazy<{ project: string; onClose: () => void }>(async () => ({
  default: (await import("../pages/drive/open-drive")).OpenDrive,
}));
const NEW = "/?new";

function ProjectSwitcher({ current }: { current: Project | undefined }) {
  const projects = useLoad<{ projects: Project[] }>("/projects", { everyMs: 30_000 });
  const [, go] = useLocation();
  const listed = projects.data?.projects ?? [];
  const known = current && !listed.some(({ id }) => id === current.id) ? [...listed, current] : listed;
  const options: [string, string][] = [
    ...(current ? [] : [["", "Choose a project"] as [string, string]]),
    ...known.map(({ name }): [string, string] => [name, name]),
    [NEW, "New project…"],
  ];
  return (
    <SelectField
      label="Project"
      hideLabel
      value={current?.name ?? ""}
      options={options}
      onValue={(value) => value && go(value === NEW ? NEW : paths.project(value))}
    />
  );
}

function ProjectLinks({ view, project }: { view: ProjectView; project: Project }) {
  const micros = view.micros.data?.micros ?? [];
  const bases = view.bases.data?.bases ?? [];
  const drives = view.drives.data?.drives ?? [];
  const [opening, setOpening] = useState<"base" | "drive">();
  const Picture = micros.length ? LayoutGrid : Plus;
  const close = () => setOpening(undefined);
  return (
    <>
      {opening === "base" && <OpenBase onClose={close} />}
      {opening === "drive" && <OpenDrive project={project.name} onClose={close} />}
      <Group title="Micros">
        {micros.map((micro) => (
          <Item key={micro.id} to={paths.micro(micro)} icon={<Box size={16} aria-hidden="true" />}>
            {micro.name}
          </Item>
        ))}
        <Item to={paths.project(project)} icon={<Picture size={16} aria-hidden="true" />} exact>
          {micros.length ? "All Micros" : "First Micro"}
        </Item>
      </Group>
      <Group title="Bases">
        {bases.map(({ name }) => (
          <Item key={name} to={paths.base(project, name)} icon={<Database size={16} aria-hidden="true" />}>
            {name}
          </Item>
        ))}
        <Opener onClick={() => setOpening("base")}>Open a Base</Opener>
      </Group>
      <Group title="Drives">
        {drives.map(({ name }) => (
          <Item key={name} to={paths.drive(project, name)} icon={<FolderOpen size={16} aria-hidden="true" />}>
            {name}
          </Item>
        ))}
        <Opener onClick={() => setOpening("drive")}>Open a Drive</Opener>
      </Group>
      <Group title="Project">
        <Item to={paths.projectKeys(project)} icon={<KeyRound size={16} aria-hidden="true" />}>
          Project keys
        </Item>
        <Item to={paths.projectSettings(project)} icon={<SlidersHorizontal size={16} aria-hidden="true" />}>
          Project settings
        </Item>
      </Group>
    </>
  );
}

/** Opens what has no place in the list yet. */
function Opener({ onClick, children }: { onClick: () => void; children: ComponentChildren }) {
  return (
    <li>
      <button type="button" onClick={onClick}>
        <Plus size={16} aria-hidden="true" />
        <span class="cut">{children}</span>
      </button>
    </li>
  );
}

function Group({ title, children }: { title: string; children: ComponentChildren }) {
  return (
    <section>
      <h2>{title}</h2>
      <ul>{children}</ul>
    </section>
  );
}

function Item({
  to,
  icon,
  exact,
  children,
}: {
  to: string;
  icon: ComponentChildren;
  exact?: boolean;
  children: ComponentChildren;
}) {
  const [here] = useLocation();
  const current = here === to || (!exact && here.startsWith(`${to}/`));
  return (
    <li>
      <Link href={to} aria-current={current ? "page" : undefined}>
        {icon}
        <span class="cut">{children}</span>
      </Link>
    </li>
  );
}
