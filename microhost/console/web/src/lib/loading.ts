/** Hooks between the API and a page: load and reload, act and tell. */

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ApiError, api } from "./api";

export interface Loaded<T> {
  /** The last good answer; it stays while a newer one is on its way and when that one fails. */
  data: T | undefined;
  error: ApiError | undefined;
  loading: boolean;
  reload: () => Promise<void>;
  /** Show this without asking the host, after a change whose outcome is known. */
  replace: (data: T) => void;
}

/** Load a path of the API, again when it changes, and every `everyMs` while the page is visible. `null`: nothing yet. */
export function useLoad<T>(path: string | null, { everyMs }: { everyMs?: number } = {}): Loaded<T> {
  const [state, setState] = useState<{ path: string | null; data?: T; error?: ApiError }>({ path });
  const latest = useRef<AbortController>();

  const reload = useCallback(async () => {
    if (path === null) return;
    latest.current?.abort();
    const mine = new AbortController();
    latest.current = mine;
    try {
      const data = await api.get<T>(path, mine.signal);
      if (!mine.signal.aborted) setState({ path, data });
    } catch (error) {
      if (!mine.signal.aborted)
        setState((old) => ({ ...(old.path === path ? old : {}), path, error: asApiError(error) }));
    }
  }, [path]);

  useEffect(() => {
    void reload();
    const timer = everyMs ? setInterval(() => document.hidden || void reload(), everyMs) : undefined;
    return () => {
      clearInterval(timer);
      latest.current?.abort();
    };
  }, [reload, everyMs]);

  const current = state.path === path;
  const data = current ? state.data : undefined;
  const error = current ? state.error : undefined;
  const replace = useCallback((data: T) => setState({ path, data }), [path]);
  return {
    data,
    error,
    loading: path !== null && data === undefined && error === undefined,
    reload,
    replace,
  };
}

export interface Action<A extends unknown[]> {
  run: (...given: A) => Promise<boolean>;
  busy: boolean;
  error: ApiError | undefined;
  clear: () => void;
}

/** Wrap an act that talks to the host: one at a time; `run` tells whether it went well, `error` why not. */
export function useAction<A extends unknown[]>(act: (...given: A) => Promise<unknown>): Action<A> {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError>();
  const running = useRef(false);
  const run = async (...given: A) => {
    if (running.current) return false;
    running.current = true;
    setBusy(true);
    setError(undefined);
    try {
      await act(...given);
      return true;
    } catch (thrown) {
      setError(asApiError(thrown));
      return false;
    } finally {
      running.current = false;
      setBusy(false);
    }
  };
  return { run, busy, error, clear: () => setError(undefined) };
}

/** Make whatever was thrown something that can be shown. */
export function asApiError(thrown: unknown): ApiError {
  if (thrown instanceof ApiError) return thrown;
  console.error(thrown);
  return new ApiError(0, ["The console made a mistake. The browser's console tells more."]);
}
