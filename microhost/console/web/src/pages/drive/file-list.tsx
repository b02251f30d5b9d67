import { Trash2 } from "lucide-preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { Button } from "../../components/button";
import { Empty, Failure, Skeleton } from "../../components/feedback";
import { TextField } from "../../components/field";
import { plural } from "../../lib/format";
import { useDeleting } from "./deleting";
import style from "./drive.module.css";
import { type Found, readDrop } from "./dropped";
import type { DriveAt } from "./files";
import type { Listing } from "./listing";
import { type Entry, entriesOf, filterEntries } from "./names";
import { Row } from "./row";

const SHOWN_AT_ONCE = 200;

/** What is in a folder; files are dropped here. */
export function FileList({
  drive,
  prefix,
  listing,
  onFolder,
  onPreview,
  onDropped,
  onDeleted,
}: {
  drive: DriveAt;
  prefix: string;
  listing: Listing;
  onFolder: (prefix: string) => string;
  onPreview: (name: string) => void;
  onDropped: (found: Found[]) => void;
  onDeleted: () => Promise<void>;
}) {
  const [filter, setFilter] = useState("");
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const deleting = useDeleting(drive, async () => {
    setChosen(new Set());
    await onDeleted();
  });
  const entries = useMemo(() => entriesOf(listing.names ?? [], prefix), [listing.names, prefix]);
  const found = useMemo(() => filterEntries(entries, filter), [entries, filter]);
  const selected = entries.filter(({ name }) => chosen.has(name));

  // a filter that looked at a part only would say of the rest that it is not there
  useEffect(() => {
    if (filter && listing.more && !listing.error) void listing.loadMore();
  }, [filter, listing.more, listing.names]);

  return (
    <DropZone place={prefix || drive.drive} onDropped={onDropped}>
      <div class={style.tools}>
        <TextField
          label="Filter"
          hideLabel
          type="search"
          placeholder="Filter this folder"
          value={filter}
          onValue={setFilter}
        />
        <span class="soft" role="status">
          {deleting.progress ?? count(listing, filter, found.length, selected.length)}
        </span>
        <Button
          kind="danger"
          disabled={!selected.length && !deleting.busy}
          busy={deleting.busy}
          onClick={() => void deleting.run(selected)}
        >
          <Trash2 size={16} aria-hidden="true" /> Delete
        </Button>
      </div>
      <Failure error={deleting.error} />
      <Failure error={listing.error} onRetry={() => void listing.reload()} />
      {listing.names === undefined ? (
        !listing.error && <Skeleton lines={8} />
      ) : !entries.length ? (
        <Empty title={prefix ? "Nothing is in this folder yet" : "Nothing is in this Drive yet"}>
          <p>Drop files or folders here, or use Upload.</p>
        </Empty>
      ) : !found.length ? (
        <p class="soft">{listing.more ? "Still looking…" : "No name here matches the filter."}</p>
      ) : (
        <Table
          key={filter}
          drive={drive}
          entries={found}
          chosen={chosen}
          onChosen={setChosen}
          onFolder={onFolder}
          onPreview={onPreview}
          listing={listing}
        />
      )}
    </DropZone>
  );
}

function count(listing: Listing, filter: string, found: number, selected: number): string {
  if (!listing.names) return "";
  if (selected) return `${selected.toLocaleString("en")} chosen`;
  const more = listing.more ? "+" : "";
  const all = listing.names.length.toLocaleString("en");
  return filter ? `${found.toLocaleString("en")} of ${all}${more}` : `${all}${more} here`;
}

function DropZone({
  place,
  onDropped,
  children,
}: {
  place: string;
  onDropped: (found: Found[]) => void;
  children: preact.ComponentChildren;
}) {
  const [over, setOver] = useState(0);
  const carriesFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
  return (
    <section
      class={`card ${style.zone}`}
      aria-label="Files and folders"
      onDragEnter={(event) => carriesFiles(event) && setOver((depth) => depth + 1)}
      onDragLeave={(event) => carriesFiles(event) && setOver((depth) => Math.max(0, depth - 1))}
      onDragOver={(event) => carriesFiles(event) && event.preventDefault()}
      onDrop={(event) => {
        setOver(0);
        if (!event.dataTransfer || !carriesFiles(event)) return;
        event.preventDefault();
        void readDrop(event.dataTransfer).then(onDropped);
      }}
    >
      {children}
      {over > 0 && <p class={style.drop}>Drop to upload to {place}</p>}
    </section>
  );
}

function Table({
  drive,
  entries,
  chosen,
  onChosen,
  onFolder,
  onPreview,
  listing,
}: {
  drive: DriveAt;
  entries: Entry[];
  chosen: ReadonlySet<string>;
  onChosen: (chosen: ReadonlySet<string>) => void;
  onFolder: (prefix: string) => string;
  onPreview: (name: string) => void;
  listing: Listing;
}) {
  const [shown, setShown] = useState(SHOWN_AT_ONCE);
  const all = entries.every(({ name }) => chosen.has(name));
  const some = !all && entries.some(({ name }) => chosen.has(name));
  const hidden = entries.length - shown;
  const choose = (names: string[], on: boolean) => {
    const next = new Set(chosen);
    for (const name of names) on ? next.add(name) : next.delete(name);
    onChosen(next);
  };
  return (
    <>
      <div class="table">
        <table class={style.files}>
          <thead>
            <tr>
              <th scope="col">
                <input
                  type="checkbox"
                  aria-label={`Choose all ${entries.length.toLocaleString("en")}`}
                  checked={all}
                  indeterminate={some}
                  onChange={(event) =>
                    choose(
                      entries.map(({ name }) => name),
                      event.currentTarget.checked,
                    )
                  }
                />
              </th>
              <th scope="col">Name</th>
              <th scope="col" class={style.kind}>
                Kind
              </th>
              <th scope="col">
                <span class="visually-hidden">Download</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {entries.slice(0, shown).map((entry) => (
              <Row
                key={entry.name}
                drive={drive}
                entry={entry}
                chosen={chosen.has(entry.name)}
                onChosen={(on) => choose([entry.name], on)}
                folder={onFolder}
                onPreview={onPreview}
              />
            ))}
          </tbody>
        </table>
      </div>
      {(hidden > 0 || listing.more) && (
        <div class="row">
          <Button
            busy={listing.busy}
            onClick={() => {
              setShown(shown + SHOWN_AT_ONCE);
              if (hidden < SHOWN_AT_ONCE) void listing.loadMore();
            }}
          >
            Show more
          </Button>
          <span class="help">
            {plural(Math.min(shown, entries.length), "name")} of {entries.length.toLocaleString("en")}
            {listing.more && "+"} shown
          </span>
        </div>
      )}
    </>
  );
}
