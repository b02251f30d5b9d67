import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Failure, Skeleton } from "../components/feedback";
import { ApiError } from "./api";

/** Make a component of a module's default export that is fetched when it is first shown. */
export function lazy<P extends object>(load: () => Promise<{ default: ComponentType<P> }>): ComponentType<P> {
  let known: ComponentType<P> | undefined;
  return function Lazy(props: P) {
    const [Loaded, setLoaded] = useState<ComponentType<P> | undefined>(() => known);
    const [failed, setFailed] = useState(false);
    const fetchIt = () =>
      load().then(
        (module) => {
          known = module.default;
          setLoaded(() => module.default);
        },
        () => setFailed(true),
      );
    useEffect(() => {
      if (!Loaded) void fetchIt();
    }, []);
    if (Loaded) return <Loaded {...props} />;
    if (!failed) return <Skeletal />;
    // a newer console may have replaced the file that this page would have loaded
    const error = new ApiError(0, ["This part of the console could not be loaded."]);
    return <Failure error={error} onRetry={() => location.reload()} />;
  };
}

function Skeletal() {
  return (
    <div class="page">
      <Skeleton />
    </div>
  );
}
