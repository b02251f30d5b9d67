import { Database, Download, Upload } from "lucide-preact";
import { useEffect, useState } from "preact/hooks";
import { Button } from "../../components/button";
import { Empty, Failure, Notice, Skeleton } from "../../components/feedback";
import { Page } from "../../components/page";
import { ApiError } from "../../lib/api";
import { plural } from "../../lib/format";
import type { Project } from "../../lib/types";
import css from "./base.module.css";
import { shownColumns } from "./columns";
import { Grid } from "./grid";
import type { Opened } from "./overlays";
import { QueryBox } from "./query-box";
import { addRow, nameOf, setField } from "./sheet";
import { Toolbar } from "./toolbar";
import { type Desk, useDesk } from "./use-desk";
import type { Table } from "./use-table";

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
  const desk = useDesk(project, base, queryText);
  const [Overlays, overlaysFailed] = useOverlays();
  return (
    <Page
      title={base}
      beside={<span class="badge">Base</span>}
      wide
      actions={<Actions onOpened={desk.open} />}
    >
      <QueryBox
        query={queryText}
        busy={desk.table.busy && desk.query !== null}
        onQuery={(wanted) => void desk.fetch(wanted)}
      />
      <section class={css.sheet} aria-label="Items">
        <Rows desk={desk} />
        <Failure error={overlaysFailed} />
        <Items desk={desk} />
      </section>
      {Overlays && <Overlays desk={desk} />}
    </Page>
  );
}

function Actions({ onOpened }: { onOpened: (opened: Opened) => void }) {
  return (
    <>
      <Button small onClick={() => onOpened({ kind: "base" })}>
        <Database size={16} aria-hidden="true" /> Open a Base
      </Button>
      <Button small onClick={() => onOpened({ kind: "import" })}>
        <Upload size={16} aria-hidden="true" /> Import
      </Button>
      <Button small onClick={() => onOpened({ kind: "export" })}>
        <Download size={16} aria-hidden="true" /> Export
      </Button>
    </>
  );
}

/** What can be done with the rows, and what did not go well. */
function Rows({ desk }: { desk: Desk }) {
  const { table, saving, deleting } = desk;
  return (
    <>
      <Toolbar
        pending={desk.pending}
        selectedCount={desk.selected.size}
        saving={saving.save.busy}
        deleting={deleting.busy}
        onAdd={() => {
          desk.setBegin(table.sheet.nextId);
          table.change((sheet) => addRow(sheet));
        }}
        onAddField={() => desk.open({ kind: "field" })}
        onDelete={() => void deleting.run()}
        onUndo={desk.undo}
        onSave={() => void saving.save.run()}
      />
      <Failures table={table} />
      <Failure error={saving.save.error ?? saving.resolve.error ?? deleting.error} />
      <Failure error={table.error} onRetry={() => void (table.ready ? table.more() : table.reload())} />
    </>
  );
}

/** The table itself. */
function Items({ desk }: { desk: Desk }) {
  const { table, query } = desk;
  const { shown, hidden } = shownColumns(table.sheet.columns);
  const standing = table.sheet.rows.length > 0 || (table.ready && shown.length > 1);
  return (
    <>
      {hidden > 0 && (
        <Notice>{plural(hidden, "more field")} have no column. Open an item to see all of its fields.</Notice>
      )}
      {standing && (
        <Grid
          label={`Items of ${desk.base}`}
          rows={table.sheet.rows}
          columns={shown}
          selected={desk.selected}
          onSelected={desk.setSelected}
          onValue={(id, field, value) => table.change((sheet) => setField(sheet, id, field, value))}
          onOpen={(id, field) =>
            desk.open(field === null ? { kind: "item", id } : { kind: "value", id, field })
          }
          begin={desk.begin}
        />
      )}
      {!standing && table.busy && !table.ready && query && <Skeleton lines={8} />}
      {table.ready && <Ending table={table} filtered={Boolean(query?.length)} />}
    </>
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
