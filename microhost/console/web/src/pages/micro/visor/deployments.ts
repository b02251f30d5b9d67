/** Name a Micro's deployments where one is to be chosen. */

import { url } from "../../../lib/api";
import { relative } from "../../../lib/format";
import { useLoad } from "../../../lib/loading";
import type { Deployment, Micro } from "../../../lib/types";

export interface Deployments {
  options: (readonly [value: string, shown: string])[];
  /** "#3", or the beginning of an id that is none of the kept ones. */
  nameOf: (id: string) => string;
}

/** Load the deployments that a request can be sent to; "" stands for the live one. */
export function useDeployments(micro: Micro): Deployments {
  const loaded = useLoad<{ deployments: Deployment[] }>(
    micro.live_deployment ? url`/projects/${micro.project}/micros/${micro.id}/deployments` : null,
  );
  const all = loaded.data?.deployments ?? [];
  const now = new Date();
  const live = all.find(({ state }) => state === "live");
  const others = all.filter(({ state }) => state !== "live");
  return {
    options: [
      ["", live ? `Live deployment, #${live.number}` : "Live deployment"],
      ...others.map(
        ({ id, number, created_at }) =>
          [id, `#${number}, of ${relative(new Date(created_at), now)}`] as const,
      ),
    ],
    nameOf: (id) => {
      const found = all.find((each) => each.id === id);
      return found ? `#${found.number}` : id.slice(0, 8);
    },
  };
}
