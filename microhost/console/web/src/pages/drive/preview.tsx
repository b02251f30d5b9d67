import { ChevronLeft, ChevronRight, Download } from "lucide-preact";
import { useEffect, useState } from "preact/hooks";
import { IconButton } from "../../components/button";
import { Dialog } from "../../components/dialog";
import { Failure, Notice, Skeleton } from "../../components/feedback";
import type { ApiError } from "../../lib/api";
import { bytes } from "../../lib/format";
import { asApiError } from "../../lib/loading";
import style from "./drive.module.css";
import { type DriveAt, downloadAddress, fetchSize, fetchStart, fetchWhole } from "./files";
import { type Preview, previewOf } from "./kinds";

const TEXT_BYTES_MAX = 1_000_000;
const BLOB_BYTES_MAX = 100_000_000;

/** Look at a file, and at the ones before and after it. */
export function PreviewDialog({
  drive,
  name,
  names,
  onName,
  onClose,
}: {
  drive: DriveAt;
  name: string;
  names: string[];
  onName: (name: string) => void;
  onClose: () => void;
}) {
  const shown = names.filter((each) => previewOf(each));
  const at = shown.indexOf(name);
  const before = shown[at - 1];
  const after = at < 0 ? undefined : shown[at + 1];
  const [size, setSize] = useState<number>();
  const label = name.slice(name.lastIndexOf("/") + 1);
  const preview = previewOf(name);
  useEffect(() => setSize(undefined), [name]);
  return (
    <Dialog title={label} onClose={onClose} wide>
      <div class={style.preview}>
        {preview && <Content key={name} drive={drive} name={name} preview={preview} onSize={setSize} />}
      </div>
      <footer class="row between">
        <div class="row">
          <IconButton label="Previous file" disabled={!before} onClick={() => before && onName(before)}>
            <ChevronLeft size={18} aria-hidden="true" />
          </IconButton>
          <IconButton label="Next file" disabled={!after} onClick={() => after && onName(after)}>
            <ChevronRight size={18} aria-hidden="true" />
          </IconButton>
          <span class="help">{size === undefined ? "" : bytes(size)}</span>
        </div>
        <a class="button" href={downloadAddress(drive, name)} download={label}>
          <Download size={16} aria-hidden="true" /> Download
        </a>
      </footer>
    </Dialog>
  );
}

interface Shown {
  drive: DriveAt;
  name: string;
  preview: Preview;
  onSize: (bytes: number) => void;
}

function Content(shown: Shown) {
  const { kind } = shown.preview;
  if (kind === "text") return <Text {...shown} />;
  // sound and film run nothing, and come piece by piece from where they are
  if (kind === "audio" || kind === "video") return <Media {...shown} />;
  return <AsBlob {...shown} />;
}

/** Do something that can be given up when it is not wanted any more. */
function useFetched<T>(get: (signal: AbortSignal) => Promise<T>): { data?: T; error?: ApiError } {
  const [state, setState] = useState<{ data?: T; error?: ApiError }>({});
  useEffect(() => {
    const mine = new AbortController();
    get(mine.signal).then(
      (data) => mine.signal.aborted || setState({ data }),
      (error) => mine.signal.aborted || setState({ error: asApiError(error) }),
    );
    return () => mine.abort();
  }, []);
  return state;
}

function Text({ drive, name, onSize }: Shown) {
  const { data, error } = useFetched(async (signal) => {
    const { bytes: start, size } = await fetchStart(drive, name, TEXT_BYTES_MAX, signal);
    onSize(size);
    return { text: new TextDecoder().decode(start), size, binary: start.includes(0) };
  });
  if (error) return <Failure error={error} />;
  if (!data) return <Skeleton lines={6} />;
  if (data.binary) return <Notice>This is no text. Download it to look at it.</Notice>;
  if (!data.size) return <Notice>The file is empty.</Notice>;
  return (
    <>
      {data.size > TEXT_BYTES_MAX && (
        <Notice kind="warn">Only the first {bytes(TEXT_BYTES_MAX)} are shown.</Notice>
      )}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard */}
      <pre class={style.text} tabIndex={0}>
        {data.text}
      </pre>
    </>
  );
}

function Media({ drive, name, preview, onSize }: Shown) {
  const [broken, setBroken] = useState(false);
  useFetched(async (signal) => onSize(await fetchSize(drive, name, signal)));
  const common = { src: downloadAddress(drive, name), controls: true, onError: () => setBroken(true) };
  if (broken) return <Broken />;
  return preview.kind === "audio" ? (
    <audio {...common} aria-label={name} />
  ) : (
    <video {...common} aria-label={name} />
  );
}

/** A picture or a PDF, as the type that its name tells, whatever the uploader called it. */
function AsBlob({ drive, name, preview, onSize }: Shown) {
  const [broken, setBroken] = useState(false);
  const { data, error } = useFetched(async (signal) => {
    const size = await fetchSize(drive, name, signal);
    onSize(size);
    if (size > BLOB_BYTES_MAX) return null;
    const content = await fetchWhole(drive, name, signal);
    return URL.createObjectURL(new Blob([content], { type: preview.type }));
  });
  useEffect(() => () => void (data && URL.revokeObjectURL(data)), [data]);
  if (error) return <Failure error={error} />;
  if (data === undefined) return <Skeleton lines={6} />;
  if (data === null) return <Notice>It is too large to be shown here. Download it to look at it.</Notice>;
  if (broken) return <Broken />;
  return preview.kind === "pdf" ? (
    <iframe src={data} title={name} />
  ) : (
    <img src={data} alt={name} onError={() => setBroken(true)} />
  );
}

function Broken() {
  return (
    <Notice kind="warn">The browser cannot show it. It may be damaged, or not what its name says.</Notice>
  );
}
