/** Hold what was listed of a folder, page by page. */

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import type { ApiError } from "../../lib/api";
import { asApiError } from "../../lib/loading";
import { type DriveAt, listNames } from "./files";

export interface Listing {
  /** undefined: the first page has not come yet. */
  names: string[] | undefined;
  /** More than `names` is there. */
  more: boolean;
  busy: boolean;
  error: ApiError | undefined;
  loadMore: () => Promise<void>;
  /** List again as far as it was listed; what stands there stays until then. */
  reload: () => Promise<void>;
}

interface State {
  names?: string[];
  last?: string | undefined;
  error?: ApiError;
  busy: boolean;
}

/** List a folder. */
export function useListing(drive: DriveAt, prefix: string): Listing {
  const [state, setState] = useState<State>({ busy: true });
  const latest = useRef<AbortController>();
  const current = useRef(state);
  current.current = state;

  const load = useCallback(
    async (before: string[], from: string | undefined, atLeast: number) => {
      latest.current?.abort();
      const mine = new AbortController();
      latest.current = mine;
      const { signal } = mine;
      setState((old) => ({ ...old, busy: true, error: undefined }));
      try {
        const names = [...before];
        let last = from;
        do {
          const page = await listNames(drive, prefix, { ...(last !== undefined && { last }), signal });
          names.push(...page.names);
          last = page.last;
        } while (last !== undefined && names.length < atLeast);
        if (!signal.aborted) setState({ names, last, busy: false });
      } catch (error) {
        if (!signal.aborted) setState((old) => ({ ...old, busy: false, error: asApiError(error) }));
      }
    },
    [drive, prefix],
  );
  const reload = useCallback(() => load([], undefined, current.current.names?.length ?? 0), [load]);
  const loadMore = useCallback(async () => {
    const { names, last, busy } = current.current;
    if (names && last !== undefined && !busy) await load(names, last, 0);
  }, [load]);

  useEffect(() => {
    setState({ busy: true });
    void load([], undefined, 0);
    return () => latest.current?.abort();
  }, [load]);
  return {
    ...state,
    names: state.names,
    more: state.last !== undefined,
    error: state.error,
    loadMore,
    reload,
  };
}
