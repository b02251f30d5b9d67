import { FolderPlus, FolderUp, Upload as UploadIcon } from "lucide-preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { useLocation } from "wouter-preact";
import { Button } from "../../components/button";
import { Failure } from "../../components/feedback";
import { Page } from "../../components/page";
import { bytes, plural } from "../../lib/format";
import { useAction } from "../../lib/loading";
import { paths } from "../../lib/paths";
import { useProject } from "../../lib/project";
import { Crumbs } from "./crumbs";
import type { Found } from "./dropped";
import { readChosen } from "./dropped";
import { FileList } from "./file-list";
import { type DriveAt, findTaken } from "./files";
import { useListing } from "./listing";
import { addressOf } from "./names";
import { NewFolder } from "./new-folder";
import { OpenDrive } from "./open-drive";
import { Overwrite, type Taken } from "./overwrite";
import { PreviewDialog } from "./preview";
import { uploadingTo } from "./uploading";
import { Uploads } from "./uploads";

type Open = { kind: "folder" } | { kind: "drive" } | { kind: "preview"; name: string } | null;

/** One folder of a Drive: where one is, what is in it, and what can be done with it. */
export function Browser({ drive, prefix }: { drive: DriveAt; prefix: string }) {
  const view = useProject();
  const [, go] = useLocation();
  const [open, setOpen] = useState<Open>(null);
  const [taken, setTaken] = useState<Taken | null>(null);
  const listing = useListing(drive, prefix);
  const base = paths.drive(view.name, drive.drive);
  const { uploader } = uploadingTo(drive);

  const bringing = useAction(async (found: Found[]) => {
    const files = found.map(({ file, path }) => ({ name: prefix + path, file }));
    if (!files.length) return;
    const names = await findTaken(
      drive,
      files.map(({ name }) => name),
    );
    if (names.length) setTaken({ files, names });
    else uploader.add(files);
  });
  const refresh = async () => {
    await Promise.all([listing.reload(), view.drives.reload()]);
  };

  return (
    <Page
      title={drive.drive}
      beside={<Fill name={drive.drive} />}
      actions={
        <>
          <Button onClick={() => setOpen({ kind: "drive" })}>Open a Drive</Button>
          <Button onClick={() => setOpen({ kind: "folder" })}>
            <FolderPlus size={16} aria-hidden="true" /> New folder
          </Button>
          <Choose onChosen={(found) => void bringing.run(found)} busy={bringing.busy} />
        </>
      }
    >
      <Crumbs drive={drive.drive} base={base} prefix={prefix} />
      <Failure error={bringing.error} />
      <Uploads drive={drive} onArrived={() => void refresh()} />
      <FileList
        drive={drive}
        prefix={prefix}
        listing={listing}
        onFolder={(folder) => addressOf(base, folder)}
        onPreview={(name) => setOpen({ kind: "preview", name })}
        onDropped={(found) => void bringing.run(found)}
        onDeleted={refresh}
      />
      {open?.kind === "preview" && (
        <PreviewDialog
          drive={drive}
          name={open.name}
          names={listing.names ?? []}
          onName={(name) => setOpen({ kind: "preview", name })}
          onClose={() => setOpen(null)}
        />
      )}
      {open?.kind === "folder" && (
        <NewFolder
          prefix={prefix}
          onClose={() => setOpen(null)}
          onFolder={(folder) => {
            setOpen(null);
            go(addressOf(base, folder));
          }}
        />
      )}
      {open?.kind === "drive" && <OpenDrive project={view.name} onClose={() => setOpen(null)} />}
      {taken && (
        <Overwrite {...taken} onDecided={(files) => uploader.add(files)} onClose={() => setTaken(null)} />
      )}
    </Page>
  );
}

/** How much is in the Drive, as far as that is known. */
function Fill({ name }: { name: string }) {
  const known = useProject().drives.data?.drives.find((each) => each.name === name);
  return known ? (
    <span class="soft">
      {plural(known.files, "file")}, {bytes(known.bytes)}
    </span>
  ) : null;
}

function Choose({ onChosen, busy }: { onChosen: (found: Found[]) => void; busy: boolean }) {
  const files = useRef<HTMLInputElement>(null);
  const folder = useRef<HTMLInputElement>(null);
  useEffect(() => folder.current?.setAttribute("webkitdirectory", ""), []);
  const take = (input: HTMLInputElement) => {
    onChosen(readChosen(input.files ?? []));
    input.value = "";
  };
  return (
    <>
      <input
        ref={folder}
        type="file"
        hidden
        aria-label="A folder to upload"
        onChange={(event) => take(event.currentTarget)}
      />
      <input
        ref={files}
        type="file"
        multiple
        hidden
        aria-label="Files to upload"
        onChange={(event) => take(event.currentTarget)}
      />
      <Button busy={busy} onClick={() => folder.current?.click()}>
        <FolderUp size={16} aria-hidden="true" /> Upload folder
      </Button>
      <Button kind="main" busy={busy} onClick={() => files.current?.click()}>
        <UploadIcon size={16} aria-hidden="true" /> Upload
      </Button>
    </>
  );
}
