/** Follow a stream of server-sent events; the browser reconnects and continues by Last-Event-ID. */

import { useEffect, useRef, useState } from "preact/hooks";
import { API } from "./api";

export type StreamState = "connecting" | "live" | "lost";

/** Call `take` for each message of `path` (below /api/v1) while mounted; `null`: do not follow. Tells how the stream stands. */
export function useStream(path: string | null, take: (data: string, event: string) => void): StreamState {
  const [state, setState] = useState<StreamState>("connecting");
  const latest = useRef(take);
  latest.current = take;
  useEffect(() => {
    if (path === null) return;
    setState("connecting");
    const source = new EventSource(API + path);
    source.onopen = () => setState("live");
    source.onerror = () => setState(source.readyState === EventSource.CLOSED ? "lost" : "connecting");
    const pass = (message: MessageEvent<string>) => latest.current(message.data, message.type);
    for (const type of ["message", "event", "behind"]) source.addEventListener(type, pass);
    return () => source.close();
  }, [path]);
  return state;
}
