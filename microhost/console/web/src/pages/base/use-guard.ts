/** Ask before edits are left behind. */

import { useLayoutEffect, useRef } from "preact/hooks";
import { useLocation } from "wouter-preact";
import { confirm } from "../../components/dialog";

/** Ask whether edits may be lost. */
export function askToLeave(count: number): Promise<boolean> {
  return confirm({
    title: "Leave without saving?",
    body: `${count === 1 ? "One row has edits that are" : `${count} rows have edits that are`} not saved.`,
    action: "Discard edits",
    danger: true,
  });
}

/**
 * While rows have edits: links of the console ask in our own dialog, closing the tab asks in the browser's.
 * Other ways to another page (the browser's back, the jump list) ask nothing: there the edits are kept for the return.
 */
export function useLeaveGuard(count: number, onDiscard: () => void): void {
  const [, go] = useLocation();
  const latest = useRef({ onDiscard, go, count });
  latest.current = { onDiscard, go, count };
  const guarded = count > 0;
  useLayoutEffect(() => {
    if (!guarded) return;
    const onUnload = (event: BeforeUnloadEvent) => event.preventDefault();
    const onClick = (event: MouseEvent) => {
      const link = event.target instanceof Element ? event.target.closest("a") : null;
      if (!link || !leavesPage(link, event)) return;
      event.preventDefault();
      event.stopPropagation();
      void askToLeave(latest.current.count).then((yes) => {
        if (!yes) return;
        latest.current.onDiscard();
        latest.current.go(link.pathname + link.search);
      });
    };
    addEventListener("beforeunload", onUnload);
    document.addEventListener("click", onClick, true);
    return () => {
      removeEventListener("beforeunload", onUnload);
      document.removeEventListener("click", onClick, true);
    };
  }, [guarded]);
}

function leavesPage(link: HTMLAnchorElement, event: MouseEvent): boolean {
  if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return false;
  if (link.target || link.hasAttribute("download") || link.origin !== location.origin) return false;
  return link.pathname !== location.pathname || link.search !== location.search;
}
