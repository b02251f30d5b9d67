import { Database, Download, Upload } from "lucide-preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { useLocation } from "wouter-preact";
import { Button } from "../../components/button";
import { Empty, Failure, Notice, Skeleton } from "../../components/feedback";
import { Page } from "../../components/page";
import { ApiError, withQuery } from "../../lib/api";
import { plural } from "../../lib/format";
import { paths } from "../../lib/paths";
import { useProject } from "../../lib/project";
import type { Project } from "../../lib/types";
import css from "./base.module.css";
import { shownColumns } from "./columns";
import { Grid } from "./grid";
import type { Opened } from "./overlays";
import { readQuery } from "./queries";
import { QueryBox } from "./query-box";
import { addRow, nameOf, pendingOf, setField } from "./sheet";
import { Toolbar } from "./toolbar";
import { useDeleting, useUndo } from "./use-acts";
import { askToLeave, useLeaveGuard } from "./use-guard";
import { useSaving } from "./use-saving";
import { type Table, useTable } from "./use-table";
import { openBase } from "./wire";

/** One Base with one query: fetch, edit, save. */
export function BaseView({
  project,
  base,
  queryText,
}: {
  project: Project;
  base: string;
  queryText: string;
}) {
  const wire = useMemo(() => openBase(project.id, base), [project.id, base]);
  const asked = useMemo(() => readQuery(queryText), [queryText]);
  const query = "query" in asked ? asked.query : null;
  const address = withQuery(paths.base(project, base), { query: queryText });
  const table = useTable(wire, query, address);
  const { bases } = useProject();
  const [, go] = useLocation();
  const [selected, setSelected] = useState<ReadonlySet<number>>(new Set());
  const [opened, setOpened] = useState<Opened>(null);
  const [begin, setBegin] = useState<number | null>(null);
  const [Overlays, overlaysFailed] = useOverlays();
  const pending = pendingOf(table.sheet);
  const onStored = () => bases.data?.bases.some(({ name }) => name === base) || void bases.reload();

  const saving = useSaving(table, wire, onStored);
  const deleting = useDeleting(table, wire, { selected, setSelected });
  const undo = useUndo(table);
  useLeaveGuard(pending.length, table.discard);

  const fetchFor = async (wanted: string) => {
    if (pending.length && !(await askToLeave(pending.length))) return;
    setSelected(new Set());
    if (wanted === queryText) return table.reload();
    table.discard();
    go(withQuery(paths.base(project, base), { query: wanted }));
  };
  const { shown, hidden } = shownColumns(table.sheet.columns);
  return (
    <Page
      title={base}
      beside={<span class="badge">Base</span>}
      wide
      actions={
        <>
          <Button small onClick={() => setOpened({ kind: "base" })}>
            <Database size={16} aria-hidden="true" /> Open a Base
          </Button>
          <Button small onClick={() => setOpened({ kind: "import" })}>
            <Upload size={16} aria-hidden="true" /> Import
          </Button>
          <Button small onClick={() => setOpened({ kind: "export" })}>
            <Download size={16} aria-hidden="true" /> Export
          </Button>
        </>
      }
    >
      <QueryBox
        query={queryText}
        busy={table.busy && query !== null}
        onQuery={(wanted) => void fetchFor(wanted)}
      />
      <section class={css.sheet} aria-label="Items">
        <Toolbar
          pending={pending}
          selectedCount={selected.size}
          saving={saving.save.busy}
          deleting={deleting.busy}
          onAdd={() => {
            setBegin(table.sheet.nextId);
            table.change((sheet) => addRow(sheet));
          }}
          onAddField={() => setOpened({ kind: "field" })}
          onDelete={() => void deleting.run()}
          onUndo={undo}
          onSave={() => void saving.save.run()}
        />
        <Failures table={table} />
        <Failure error={overlaysFailed ?? saving.save.error ?? deleting.error} />
        <Failure error={table.error} onRetry={() => void (table.ready ? table.more() : table.reload())} />
        {hidden > 0 && (
          <Notice>
            {plural(hidden, "more field")} have no column. Open an item to see all of its fields.
          </Notice>
        )}
        {table.sheet.rows.length || (table.ready && shown.length > 1) ? (
          <Grid
            label={`Items of ${base}`}
            rows={table.sheet.rows}
            columns={shown}
            selected={selected}
            onSelected={setSelected}
            onValue={(id, field, value) => table.change((sheet) => setField(sheet, id, field, value))}
            onOpen={(id, field) =>
              setOpened(field === null ? { kind: "item", id } : { kind: "value", id, field })
            }
            begin={begin}
          />
        ) : (
          table.busy && !table.ready && query && <Skeleton lines={8} />
        )}
        {table.ready && <Ending table={table} filtered={Boolean(query?.length)} />}
      </section>
      {Overlays && (
        <Overlays
          opened={opened}
          onOpened={setOpened}
          table={table}
          saving={saving}
          wire={wire}
          base={base}
          query={query ?? []}
          onStored={() => {
            onStored();
            if (!pending.length) void table.reload();
          }}
        />
      )}
    </Page>
  );
}

type OverlaysPart = typeof import("./overlays").Overlays;

/** Fetch the dialogs when the table stands: it is seen sooner. */
function useOverlays(): [OverlaysPart | undefined, ApiError | undefined] {
  const [part, setPart] = useState<{ Overlays?: OverlaysPart; error?: ApiError }>({});
  useEffect(() => {
    import("./overlays").then(setPart, () =>
      setPart({ error: new ApiError(0, ["A part of this page could not be loaded. Load the page again."]) }),
    );
  }, []);
  return [part.Overlays, part.error];
}

/** Which rows could not be saved, and why. */
function Failures({ table }: { table: Table }) {
  const failed = table.sheet.rows.filter((row) => row.failure);
  if (!failed.length) return null;
  return (
    <div class="notice bad" role="alert">
      <div>
        <p>{plural(failed.length, "row")} could not be saved:</p>
        {failed.slice(0, 20).map((row) => (
          <p key={row.id}>
            <strong>{nameOf(row)}</strong>: {row.failure}
          </p>
        ))}
      </div>
    </div>
  );
}

/** How much is shown, and the way to more. */
function Ending({ table, filtered }: { table: Table; filtered: boolean }) {
  const { rows } = table.sheet;
  if (!rows.length && table.last === null)
    return filtered ? (
      <Empty title="No item matches the query" />
    ) : (
      <Empty title="Nothing in this Base yet">
        <p>
          Add the first item here, import a file, or put one from a Micro: the Base is there with its first
          item.
        </p>
      </Empty>
    );
  return (
    <footer class="row between">
      <span class="soft" role="status">
        {plural(rows.length, "item")} shown{table.last === null ? "" : ", there may be more"}
      </span>
      {table.last !== null && (
        <Button small busy={table.busy} onClick={() => void table.more()}>
          Load more
        </Button>
      )}
    </footer>
  );
}
