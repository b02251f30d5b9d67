import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { Link, useLocation } from "wouter-preact";

/** Links to the parts of one thing; the current one is marked. */
export function LinkTabs({ label, tabs }: { label: string; tabs: { to: string; name: string }[] }) {
  const [here] = useLocation();
  const current = tabs
    .filter(({ to }) => here === to || here.startsWith(`${to}/`))
    .sort((a, b) => b.to.length - a.to.length)[0];
  const list = useRef<HTMLElement>(null);
  useEffect(() => {
    // on a narrow screen the row of tabs scrolls
    list.current?.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [current?.to]);
  return (
    <nav class="tabs" aria-label={label} ref={list}>
      {tabs.map(({ to, name }) => (
        <Link key={to} href={to} aria-current={current?.to === to ? "page" : undefined}>
          {name}
        </Link>
      ))}
    </nav>
  );
}

/** Tabs within a page (WAI-ARIA Authoring Practices: arrows move, Home and End jump). */
export function Tabs({
  label,
  tabs,
  chosen,
  onChoose,
  children,
}: {
  label: string;
  tabs: readonly string[];
  chosen: string;
  onChoose: (tab: string) => void;
  children: ComponentChildren;
}) {
  const id = useId();
  const list = useRef<HTMLDivElement>(null);
  const move = (event: KeyboardEvent) => {
    const step = {
      ArrowRight: 1,
      ArrowLeft: -1,
      Home: -tabs.indexOf(chosen),
      End: tabs.length - 1 - tabs.indexOf(chosen),
    }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const next = (tabs.indexOf(chosen) + step + tabs.length) % tabs.length;
    onChoose(tabs[next]!);
    (list.current?.children[next] as HTMLElement | undefined)?.focus();
  };
  return (
    <>
      <div class="tabs" role="tablist" aria-label={label} ref={list}>
        {tabs.map((tab) => (
          <button
            key={tab}
            type="button"
            role="tab"
            id={`${id}-${tab}`}
            aria-selected={tab === chosen}
            aria-controls={`${id}-panel`}
            tabIndex={tab === chosen ? 0 : -1}
            onClick={() => onChoose(tab)}
            onKeyDown={move}
          >
            {tab}
          </button>
        ))}
      </div>
      <div role="tabpanel" id={`${id}-panel`} aria-labelledby={`${id}-${chosen}`}>
        {children}
      </div>
    </>
  );
}
