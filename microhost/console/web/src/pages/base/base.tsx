import { useMemo } from "preact/hooks";
import { useLocation, useSearch } from "wouter-preact";
import { Show } from "../../components/feedback";
import { Page } from "../../components/page";
import { useProject } from "../../lib/project";
import { BaseView } from "./base-view";
import { placeOf } from "./place";

/** A Base as a table (Deta docs, Base UI). */
export default function BasePage() {
  const [path] = useLocation();
  const search = useSearch();
  const { base, query } = useMemo(() => placeOf(location.pathname, location.search), [path, search]);
  const { project } = useProject();
  if (project.data) return <BaseView key={base} project={project.data} base={base} queryText={query} />;
  return (
    <Page title={base} wide>
      <Show of={project}>{() => null}</Show>
    </Page>
  );
}
