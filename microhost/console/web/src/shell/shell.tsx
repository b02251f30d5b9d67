import { Menu, Search } from "lucide-preact";
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { useLocation, useRoute } from "wouter-preact";
import { Button, IconButton } from "../components/button";
import { Failure } from "../components/feedback";
import { decode } from "../lib/addresses";
import { remember } from "../lib/preferences";
import { ProjectContext, useProjectView } from "../lib/project";
import { Palette } from "./palette";
import { Sidebar } from "./sidebar";
import { UserMenu } from "./user-menu";

/** The frame of every page: sidebar, search, who is logged in. Ctrl+K or / opens the search. */
export function Shell({ children }: { children: ComponentChildren }) {
  const [path] = useLocation();
  const [inProject, params] = useRoute("/projects/:project/*?");
  const view = useProjectView(inProject ? decode(params.project as string) : null);
  const [menuOpen, setMenuOpen] = useState(false);
  const [searching, setSearching] = useState(false);

  useEffect(() => setMenuOpen(false), [path]);
  useEffect(() => {
    if (view?.project.data) remember("project", view.project.data.name);
  }, [view?.project.data?.name]);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const jump =
        (event.key === "k" && (event.ctrlKey || event.metaKey)) || (event.key === "/" && !isTyping(event));
      if (!jump) return;
      event.preventDefault();
      setSearching(true);
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);

  return (
    <ProjectContext.Provider value={view}>
      <a class="button main skip" href="#content">
        Skip to the content
      </a>
      <div class="shell">
        <Sidebar view={view} open={menuOpen} />
        {menuOpen && (
          <button type="button" class="veil" aria-label="Close the menu" onClick={() => setMenuOpen(false)} />
        )}
        <div class="main">
          <header class="top">
            <IconButton
              label="Menu"
              class="menu"
              aria-expanded={menuOpen}
              onClick={() => setMenuOpen(!menuOpen)}
            >
              <Menu size={20} aria-hidden="true" />
            </IconButton>
            <Button class="search" onClick={() => setSearching(true)}>
              <span class="row">
                <Search size={16} aria-hidden="true" /> Search and jump
              </span>
              <kbd>Ctrl K</kbd>
            </Button>
            <div class="spring" />
            <UserMenu />
          </header>
          <main id="content" tabIndex={-1}>
            {view?.project.error && !view.project.data ? (
              <div class="page">
                <Failure error={view.project.error} onRetry={() => void view.project.reload()} />
              </div>
            ) : (
              children
            )}
          </main>
        </div>
      </div>
      {searching && <Palette view={view} onClose={() => setSearching(false)} />}
    </ProjectContext.Provider>
  );
}

function isTyping({ target }: KeyboardEvent): boolean {
  if (document.querySelector("dialog[open]")) return true;
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable ||
      target.shadowRoot !== null ||
      /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))
  );
}
