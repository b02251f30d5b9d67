import { RotateCw, X } from "lucide-preact";
import { useEffect, useRef } from "preact/hooks";
import { Button, IconButton } from "../../components/button";
import { toast } from "../../components/feedback";
import { bytes, plural } from "../../lib/format";
import style from "./drive.module.css";
import type { DriveAt } from "./files";
import type { Summary, Upload } from "./upload";
import { uploadingTo } from "./uploading";

const SHOWN = 12;
const LISTED_EVERY = 1000;

/** What is on its way to the Drive; nothing when nothing is. */
export function Uploads({ drive, onArrived }: { drive: DriveAt; onArrived: () => void }) {
  const { uploader, tick } = uploadingTo(drive);
  tick.value;
  const summary = uploader.summary();
  useArrivals(summary, () => {
    onArrived();
    if (summary.busy || summary.failed) return;
    toast(`${plural(summary.done, "file")} uploaded.`);
    uploader.clear();
  });
  if (!summary.busy && !summary.failed) return null;
  const moving = uploader.uploads.filter(({ state }) => state === "sending" || state === "failed");
  return (
    <section class={`card ${style.uploads}`} aria-label="Uploads">
      <Total summary={summary}>
        {summary.failed > 0 && !summary.busy && (
          <Button small onClick={() => uploader.clear()}>
            Dismiss
          </Button>
        )}
        {summary.failed > 0 && (
          <Button small kind="main" onClick={() => uploader.retry()}>
            Resume
          </Button>
        )}
        {summary.busy && (
          <Button small onClick={() => uploader.cancel()}>
            Cancel all
          </Button>
        )}
      </Total>
      <ul class={style.moving}>
        {moving.slice(0, SHOWN).map((upload) => (
          <OnItsWay
            key={upload.name}
            upload={upload}
            onRetry={() => uploader.retry(upload)}
            onCancel={() => uploader.cancel(upload)}
          />
        ))}
      </ul>
      {moving.length > SHOWN && <p class="help">and {plural(moving.length - SHOWN, "more", "more")}</p>}
    </section>
  );
}

/** Call `act` when all has ended, and now and then before that. */
function useArrivals({ done, busy, failed }: Summary, act: () => void): void {
  const told = useRef({ done, busy });
  useEffect(() => {
    const before = told.current;
    const ended = before.busy && !busy;
    if (!(ended && done + failed > 0) && done < before.done + LISTED_EVERY) {
      told.current = { done: before.done, busy };
      return;
    }
    told.current = { done, busy };
    act();
  }, [done, busy]);
}

function Total({ summary, children }: { summary: Summary; children: preact.ComponentChildren }) {
  const { done, files, sent, size, failed, busy } = summary;
  return (
    <>
      <div class="row between">
        <h2>{busy ? "Uploading" : "Not all arrived"}</h2>
        <div class="row">{children}</div>
      </div>
      <progress max={size || 1} value={sent} aria-label="All uploads" />
      <p class="help" role="status">
        {done.toLocaleString("en")} of {plural(files, "file")}
        {failed > 0 && `, ${failed.toLocaleString("en")} failed`} · {bytes(sent)} of {bytes(size)}
      </p>
    </>
  );
}

function OnItsWay({
  upload,
  onRetry,
  onCancel,
}: {
  upload: Upload;
  onRetry: () => void;
  onCancel: () => void;
}) {
  return (
    <li>
      <div class={style.way}>
        <span class="cut" title={upload.name}>
          {upload.name}
        </span>
        <span class="help number">{upload.size ? Math.floor((100 * upload.sent) / upload.size) : 0} %</span>
        {upload.state === "failed" && (
          <IconButton small label={`Try ${upload.name} again`} onClick={onRetry}>
            <RotateCw size={14} aria-hidden="true" />
          </IconButton>
        )}
        <IconButton small label={`Cancel ${upload.name}`} onClick={onCancel}>
          <X size={14} aria-hidden="true" />
        </IconButton>
      </div>
      <progress max={upload.size || 1} value={upload.sent} aria-label={upload.name} />
      {upload.error && <p class="field-error">{upload.error.message}</p>}
    </li>
  );
}
