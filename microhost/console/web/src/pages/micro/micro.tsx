import { Route, useParams } from "wouter-preact";
import { Show } from "../../components/feedback";
import { Page } from "../../components/page";
import { url } from "../../lib/api";
import { lazy } from "../../lib/lazy";
import { useLoad } from "../../lib/loading";
import type { Micro } from "../../lib/types";

const Visor = lazy(() => import("./visor"));

/** Load the Micro of the address and show the part that it names. */
export default function MicroPage() {
  const { project, micro } = useParams<{ project: string; micro: string }>();
  const loaded = useLoad<Micro>(url`/projects/${project}/micros/${micro}`);
  return (
    <Page title={loaded.data?.name ?? micro} wide>
      <Show of={loaded}>
        {(micro) => (
          <Route path="/projects/:project/micros/:micro/visor/*?">
            <Visor micro={micro} reload={loaded.reload} />
          </Route>
        )}
      </Show>
    </Page>
  );
}
