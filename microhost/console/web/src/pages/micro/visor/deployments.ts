/** Name a Micro's deployments where one is to be chosen. */

import { useEffect } from "preact/hooks";
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
  const known = loaded.data?.deployments;
  const missing = micro.live_deployment !== null && known?.every(({ id }) => id !== micro.live_deployment);
  useEffect(() => {
    // another one was deployed meanwhile
    if (missing) void loaded.reload();
  }, [missing, micro.live_deployment]);
  const all = known ?? [];
  const now = new Date();
  const live = all.find(({ id }) => id === micro.live_deployment);
  const others = all.filter(({ id }) => id !== micro.live_deployment);
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
