import { useMemo } from "preact/hooks";
import { useLocation, useSearch } from "wouter-preact";
import { Skeleton } from "../../components/feedback";
import { useProject } from "../../lib/project";
import { Browser } from "./browser";
import { driveOf, prefixOf } from "./names";

/** A Drive's files and folders. */
export default function DrivePage() {
  useLocation();
  const prefix = prefixOf(useSearch());
  const name = driveOf(location.pathname);
  const id = useProject().project.data?.id;
  const drive = useMemo(() => (id === undefined ? null : { projectId: id, drive: name }), [id, name]);
  if (!drive)
    return (
      <div class="page">
        <Skeleton lines={8} />
      </div>
    );
  return <Browser key={`${drive.projectId}/${name}/${prefix}`} drive={drive} prefix={prefix} />;
}
