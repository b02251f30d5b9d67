/** Where a Micro is: in the API, and in the console. */

import { url } from "../../lib/api";
import { paths } from "../../lib/paths";
import type { Micro } from "../../lib/types";

/** What each part of a Micro's page is given. */
export interface PartProps {
  micro: Micro;
  reload: () => Promise<void>;
}

/** Its path in the API; by ids, so that a new name changes nothing for who is looking. */
export function apiOf({ project, id }: Micro): string {
  return url`/projects/${project}/micros/${id}`;
}

/** The address of one part of its page. */
export function partOf(micro: Micro, part: string): string {
  return `${paths.micro(micro)}/${part}`;
}
