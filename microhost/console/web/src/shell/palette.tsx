import { useId, useRef, useState } from "preact/hooks";
import { useLocation } from "wouter-preact";
import { Dialog } from "../components/dialog";
import { useLoad } from "../lib/loading";
import { paths } from "../lib/paths";
import type { ProjectView } from "../lib/project";
import type { Project } from "../lib/types";

interface Place {
  name: string;
  kind: string;
  to: string;
}

const SHOWN = 50;
const MICRO_PARTS = ["Deployments", "Logs", "Visor", "Environment", "Keys", "Cron", "Domains", "Settings"];

/** Find a place by parts of its name and go there; arrows choose, Enter goes (WAI-ARIA combobox). */
export function Palette({ view, onClose }: { view: ProjectView | null; onClose: () => void }) {
  const [text, setText] = useState("");
  const [index, setIndex] = useState(0);
  const [, go] = useLocation();
  const id = useId();
  const list = useRef<HTMLDivElement>(null);
  const projects = useLoad<{ projects: Project[] }>("/projects").data?.projects ?? [];
  const found = match(placesOf(view, projects), text).slice(0, SHOWN);
  const chosen = Math.min(index, found.length - 1);

  const visit = (place: Place | undefined) => {
    if (!place) return;
    onClose();
    go(place.to);
  };
  const onKey = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && found.length) {
      event.preventDefault();
      const next = (chosen + step + found.length) % found.length;
      setIndex(next);
      list.current?.children[next]?.scrollIntoView({ block: "nearest" });
    } else if (event.key === "Enter") {
      event.preventDefault();
      visit(found[chosen]);
    }
  };

  return (
    <Dialog title="Search and jump" onClose={onClose}>
      <div class="palette stack">
        <input
          role="combobox"
          aria-label="Where to"
          aria-expanded={found.length > 0}
          aria-controls={id}
          aria-activedescendant={found.length ? `${id}-${chosen}` : undefined}
          placeholder="A Micro, a Base, a page…"
          autocomplete="off"
          autofocus
          value={text}
          onInput={(event) => {
            setText(event.currentTarget.value);
            setIndex(0);
          }}
          onKeyDown={onKey}
        />
        <div role="listbox" id={id} aria-label="Places" ref={list}>
          {found.map((place, position) => (
            <div
              key={place.to}
              id={`${id}-${position}`}
              role="option"
              aria-selected={position === chosen}
              onClick={() => visit(place)}
              onMouseMove={() => setIndex(position)}
            >
              <span>{place.name}</span>
              <span class="help">{place.kind}</span>
            </div>
          ))}
        </div>
        {!found.length && <p class="soft">Nothing has this name.</p>}
      </div>
    </Dialog>
  );
}

function placesOf(view: ProjectView | null, projects: Project[]): Place[] {
  const project = view?.project.data;
  const inside: Place[] = project
    ? [
        ...(view.micros.data?.micros ?? []).flatMap((micro) => [
          { name: micro.name, kind: "Micro", to: paths.micro(micro) },
          ...MICRO_PARTS.map((part) => ({
            name: `${micro.name} › ${part}`,
            kind: "Micro",
            to: `${paths.micro(micro)}/${part.toLowerCase()}`,
          })),
        ]),
        ...(view.bases.data?.bases ?? []).map(({ name }) => ({
          name,
          kind: "Base",
          to: paths.base(project, name),
        })),
        ...(view.drives.data?.drives ?? []).map(({ name }) => ({
          name,
          kind: "Drive",
          to: paths.drive(project, name),
        })),
        { name: "Project keys", kind: project.name, to: paths.projectKeys(project) },
        { name: "Project settings", kind: project.name, to: paths.projectSettings(project) },
      ]
    : [];
  return [
    ...inside,
    ...projects.map(({ name }) => ({ name, kind: "Project", to: paths.project(name) })),
    { name: "All projects", kind: "Page", to: paths.home() },
    { name: "Settings", kind: "Page", to: paths.settings() },
  ];
}

/** All words must occur; names that begin with the text come first, the rest keeps its order. */
export function match(places: Place[], text: string): Place[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const hits = places.filter(({ name, kind }) =>
    words.every((word) => `${name} ${kind}`.toLowerCase().includes(word)),
  );
  const begins = (place: Place) => place.name.toLowerCase().startsWith(words.join(" "));
  return [...hits.filter(begins), ...hits.filter((place) => !begins(place))];
}
