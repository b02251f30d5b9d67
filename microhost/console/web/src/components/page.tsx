import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

/** A page: its title (also the document's), what can be done with the whole of it, and its content. */
export function Page({
  title,
  beside,
  actions,
  wide,
  children,
}: {
  title: string;
  /** Stands beside the title: a state, a link. */
  beside?: ComponentChildren;
  actions?: ComponentChildren;
  wide?: boolean;
  children: ComponentChildren;
}) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} · microhost`;
  }, [title]);
  return (
    <div class={wide ? "page wide" : "page"}>
      <header class="page-head">
        <div class="page-title">
          <h1 ref={heading} tabIndex={-1}>
            {title}
          </h1>
          {beside}
        </div>
        {actions && <div class="row">{actions}</div>}
      </header>
      {children}
    </div>
  );
}

/** A titled part of a page. */
export function Card({
  title,
  help,
  actions,
  children,
}: {
  title?: string;
  help?: ComponentChildren;
  actions?: ComponentChildren;
  children?: ComponentChildren;
}) {
  return (
    <section class="card">
      {(title || actions) && (
        <header class="card-head">
          <div>
            {title && <h2>{title}</h2>}
            {help && <p class="help">{help}</p>}
          </div>
          {actions && <div class="row">{actions}</div>}
        </header>
      )}
      {children}
    </section>
  );
}
