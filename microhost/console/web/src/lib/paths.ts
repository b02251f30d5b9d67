/** The console's own addresses, one function for each page. */

import { url } from "./api";

type Named = { name: string };
type MicroName = { project_name: string; name: string };

export const paths = {
  home: () => "/",
  project: (project: Named | string) => url`/projects/${nameOf(project)}`,
  projectKeys: (project: Named | string) => url`/projects/${nameOf(project)}/keys`,
  projectSettings: (project: Named | string) => url`/projects/${nameOf(project)}/settings`,
  micro: (micro: MicroName) => url`/projects/${micro.project_name}/micros/${micro.name}`,
  base: (project: Named | string, base: string) => url`/projects/${nameOf(project)}/bases/${base}`,
  drive: (project: Named | string, drive: string) => url`/projects/${nameOf(project)}/drives/${drive}`,
  settings: () => "/settings",
};

function nameOf(project: Named | string): string {
  return typeof project === "string" ? project : project.name;
}
