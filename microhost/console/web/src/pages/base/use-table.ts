/** The items on the page: fetched page by page, edited here, kept when the page is left with edits. */

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import type { ApiError } from "../../lib/api";
import { asApiError } from "../../lib/loading";
import type { Value, ValueMap } from "./json";
import { append, EMPTY, pendingOf, type Sheet } from "./sheet";
import type { Wire } from "./wire";

export const PAGE_ROWS = 100;
const PAGES_SEARCHED = 20;

interface State {
  sheet: Sheet;
  last: string | null;
  /** Something was fetched. */
  ready: boolean;
  busy: boolean;
  error: ApiError | undefined;
}

const START: State = { sheet: EMPTY, last: null, ready: false, busy: true, error: undefined };

/** Sheets with edits whose page was left, by address. */
const drafts = new Map<string, State>();

export interface Table extends State {
  change: (edit: (sheet: Sheet) => Sheet) => void;
  /** The sheet as it stands, for acts that take time. */
  current: () => Sheet;
  reload: () => Promise<void>;
  more: () => Promise<void>;
  /** Forget the edits when the page is left. */
  discard: () => void;
}

/** Fetch on until something matches or the Base ends: the host searches 1 MB at a time, and a page may be empty. */
async function fetchSome(wire: Wire, query: Value[], from: string | null, signal: AbortSignal) {
  const items: ValueMap[] = [];
  let last = from;
  for (let searched = 0; searched < PAGES_SEARCHED; searched += 1) {
    const page = await wire.fetchPage(query, { limit: PAGE_ROWS, last, signal });
    items.push(...page.items);
    last = page.last;
    if (items.length || last === null) break;
  }
  return { items, last };
}

/** Load a Base's items; `query` null: there is nothing to ask for. `at` names the draft. */
export function useTable(wire: Wire, query: Value[] | null, at: string): Table {
  const [state, setState] = useState<State>(() => drafts.get(at) ?? START);
  const latest = useRef(state);
  const running = useRef<AbortController>();
  const discarded = useRef(false);

  const set = useCallback((next: State) => {
    latest.current = next;
    setState(next);
  }, []);

  const fetchInto = useCallback(
    async (base: State, from: string | null) => {
      if (query === null) return set({ ...base, busy: false });
      running.current?.abort();
      const mine = new AbortController();
      running.current = mine;
      set({ ...base, busy: true, error: undefined });
      try {
        const { items, last } = await fetchSome(wire, query, from, mine.signal);
        if (mine.signal.aborted) return;
        const sheet = append(from === null ? EMPTY : latest.current.sheet, items);
        set({ sheet, last, ready: true, busy: false, error: undefined });
      } catch (error) {
        if (!mine.signal.aborted) set({ ...latest.current, busy: false, error: asApiError(error) });
      }
    },
    [wire, query, set],
  );

  useEffect(() => {
    const draft = drafts.get(at);
    drafts.delete(at);
    discarded.current = false;
    if (draft) set({ ...draft, busy: false });
    else void fetchInto(START, null);
    return () => {
      running.current?.abort();
      const left = latest.current;
      if (!discarded.current && pendingOf(left.sheet).length) drafts.set(at, left);
    };
  }, [fetchInto, at]);

  return {
    ...state,
    change: (edit) => set({ ...latest.current, sheet: edit(latest.current.sheet) }),
    current: () => latest.current.sheet,
    reload: () => fetchInto(latest.current, null),
    more: () => fetchInto(latest.current, latest.current.last),
    discard: () => {
      discarded.current = true;
    },
  };
}
