import { Redirect, Route, Switch } from "wouter-preact";
import { Notice, Show } from "../../components/feedback";
import { Page } from "../../components/page";
import { State } from "../../components/showing";
import { LinkTabs } from "../../components/tabs";
import { useNames } from "../../lib/addresses";
import { url } from "../../lib/api";
import { lazy } from "../../lib/lazy";
import { useLoad } from "../../lib/loading";
import { paths } from "../../lib/paths";
import { useProject } from "../../lib/project";
import type { Micro } from "../../lib/types";
import { Endpoint } from "./endpoint";
import { Overview } from "./overview";
import { type PartProps, partOf } from "./place";

const Deployments = lazy(() => import("./deployments"));
const Logs = lazy(() => import("./logs"));
const Visor = lazy(() => import("./visor"));
const Environment = lazy(() => import("./environment"));
const Keys = lazy(() => import("./keys"));
const Cron = lazy(() => import("./cron"));
const Domains = lazy(() => import("./domains"));
const Settings = lazy(() => import("./settings"));

const EVERY_MS = 5000;
const PARTS = {
  Deployments,
  Logs,
  Visor,
  Environment,
  Keys,
  Cron,
  Domains,
  Settings,
};
const AT = "/projects/:project/micros/:micro";

/** The frame of a Micro's page: what it is, how it stands, and the way to its parts. */
export default function MicroPage() {
  const { project, micro: name } = useNames<"project" | "micro">();
  const view = useProject();
  const micro = useLoad<Micro>(url`/projects/${project}/micros/${name}`, { everyMs: EVERY_MS });
  const reload = async () => {
    await Promise.all([micro.reload(), view.micros.reload()]);
  };
  const known = micro.data ?? view.micros.data?.micros.find((each) => each.name === name);
  return (
    <Page
      title={known?.name ?? name}
      beside={
        known && (
          <>
            <State state={known.state} />
            <Endpoint address={known.subdomain_endpoint ?? known.endpoint} />
          </>
        )
      }
    >
      {known && <LinkTabs label="Parts of the Micro" tabs={tabsOf(known)} />}
      <Show of={{ ...micro, data: known }} lines={8}>
        {(micro) => <Parts micro={micro} reload={reload} />}
      </Show>
    </Page>
  );
}

function tabsOf(micro: Micro) {
  return [
    { to: paths.micro(micro), name: "Overview" },
    ...Object.keys(PARTS).map((name) => ({ to: partOf(micro, name.toLowerCase()), name })),
  ];
}

function Parts({ micro, reload }: PartProps) {
  return (
    <>
      {micro.warnings.map((warning) => (
        <Notice key={warning} kind="warn">
          <p>{warning}</p>
        </Notice>
      ))}
      <Switch>
        {Object.entries(PARTS).map(([name, Part]) => (
          <Route key={name} path={`${AT}/${name.toLowerCase()}/*?`}>
            <Part micro={micro} reload={reload} />
          </Route>
        ))}
        <Route path={AT}>
          <Overview micro={micro} reload={reload} />
        </Route>
        <Route>
          <Redirect to={paths.micro(micro)} replace />
        </Route>
      </Switch>
    </>
  );
}
