/** The project that the page is about, for the sidebar and for what stands in it. */

import { createContext } from "preact";
import { useContext } from "preact/hooks";
import { url } from "./api";
import { type Loaded, useLoad } from "./loading";
import type { DriveSummaries, Micro, Project } from "./types";

export interface ProjectView {
  /** As it stands in the address: a name or an id. */
  name: string;
  project: Loaded<Project>;
  micros: Loaded<{ micros: Micro[] }>;
  bases: Loaded<{ bases: { name: string }[] }>;
  drives: Loaded<DriveSummaries>;
}

const MICROS_EVERY_MS = 5000;
const PRODUCTS_EVERY_MS = 30_000;

export const ProjectContext = createContext<ProjectView | null>(null);

/** Load what the sidebar shows of a project; `null` outside of projects. */
export function useProjectView(name: string | null): ProjectView | null {
  const at = name === null ? null : url`/projects/${name}`;
  const project = useLoad<Project>(at);
  const known = project.data ? at : null;
  const micros = useLoad<{ micros: Micro[] }>(known && `${known}/micros`, { everyMs: MICROS_EVERY_MS });
  const bases = useLoad<{ bases: { name: string }[] }>(known && `${known}/bases`, {
    everyMs: PRODUCTS_EVERY_MS,
  });
  const drives = useLoad<DriveSummaries>(known && `${known}/drives`, {
    everyMs: PRODUCTS_EVERY_MS,
  });
  return name === null ? null : { name, project, micros, bases, drives };
}

/** Give the project of a page that stands inside one. */
export function useProject(): ProjectView {
  const view = useContext(ProjectContext);
  if (!view) throw new Error("this page stands outside of a project");
  return view;
}
