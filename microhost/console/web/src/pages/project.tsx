import { Box, Plus } from "lucide-preact";
import { Link, useLocation, useSearchParams } from "wouter-preact";
import { Button } from "../components/button";
import { Failure, Show } from "../components/feedback";
import { Page } from "../components/page";
import { State } from "../components/showing";
import { api, url, withQuery } from "../lib/api";
import { useAction, useLoad } from "../lib/loading";
import { paths } from "../lib/paths";
import { useProject } from "../lib/project";
import type { Metrics, Micro } from "../lib/types";
import { Endpoint } from "./micro/endpoint";
import { FirstMicro } from "./micro/first-micro";
import { NewMicro } from "./micro/new-micro";
import { Tiles } from "./micro/tiles";
import styles from "./project.module.css";

const EVERY_MS = 10_000;
const MINUTES = 60;

/** A project's Micros: how each stands and how it does. */
export default function ProjectPage() {
  const { name, project, micros } = useProject();
  const [search, setSearch] = useSearchParams();
  const [, go] = useLocation();
  const at = url`/projects/${name}`;
  const count = micros.data?.micros.length;
  const metrics = useLoad<{ micros: Record<string, Metrics> }>(
    count ? withQuery(`${at}/metrics`, { minutes: MINUTES }) : null,
    { everyMs: EVERY_MS },
  );
  const sampling = useAction(async () => {
    const micro = await api.post<Micro>(`${at}/sample`);
    await micros.reload();
    go(paths.micro(micro));
  });
  const ask = () => setSearch({ new: "" });
  return (
    <Page
      title={project.data?.name ?? name}
      actions={
        <Button kind="main" onClick={ask}>
          <Plus size={16} aria-hidden="true" /> New Micro
        </Button>
      }
    >
      <Failure error={sampling.error} />
      <Failure error={metrics.error} onRetry={() => void metrics.reload()} />
      <Show of={micros}>
        {({ micros }) =>
          micros.length ? (
            <ul class={styles.micros}>
              {micros.map((micro) => (
                <Item key={micro.id} micro={micro} metrics={metrics.data?.micros[micro.id]} />
              ))}
            </ul>
          ) : (
            <FirstMicro
              project={project.data?.name ?? name}
              busy={sampling.busy}
              onSample={() => void sampling.run()}
              onNew={ask}
            />
          )
        }
      </Show>
      {search.has("new") && <NewMicro project={name} onClose={() => setSearch({}, { replace: true })} />}
    </Page>
  );
}

function Item({ micro, metrics }: { micro: Micro; metrics: Metrics | undefined }) {
  return (
    <li class="card">
      <header class={styles.head}>
        <h2>
          <Link href={paths.micro(micro)}>
            <Box size={16} aria-hidden="true" /> {micro.name}
          </Link>
        </h2>
        <State state={micro.state} />
      </header>
      <Endpoint address={micro.subdomain_endpoint ?? micro.endpoint} />
      {micro.state === "new" ? (
        <p class="soft">
          Nothing is deployed yet. <Link href={paths.micro(micro)}>Send its code</Link>
        </p>
      ) : (
        <Tiles metrics={metrics} />
      )}
    </li>
  );
}
