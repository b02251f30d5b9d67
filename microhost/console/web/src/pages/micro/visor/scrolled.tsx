import type { ComponentChildren } from "preact";

/** What scrolls when it is too wide or too high, reachable by keyboard too. */
export function Scrolled({
  label,
  class: classes = "table",
  children,
}: {
  label: string;
  class?: string;
  children: ComponentChildren;
}) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: only so can the keyboard scroll it
    <section class={classes} tabIndex={0} aria-label={label}>
      {children}
    </section>
  );
}
