import { structuredPatch } from "diff";
import { useEffect, useState } from "preact/hooks";
import { Failure, Skeleton } from "../../components/feedback";
import { API, type ApiError, request } from "../../lib/api";
import { asApiError } from "../../lib/loading";
import { type ChangedFile, type DiffLine, numberLines, textOf } from "./changes";
import styles from "./micro.module.css";
import { plain } from "./words";

const CONTEXT = 3;
const MOST_EDITS = 4000;
const MOST_LINES = 5000;
const ROWS = { "+": styles.added, "-": styles.removed, "@": styles.gap, " ": undefined };
const SIGNS = { "+": "+", "-": "−", "@": "", " ": "" };

type Outcome = DiffLine[] | string;

/** The lines of a file that differ; what is no text or too large says so. */
export default function FileDiff({ file, from, to }: { file: ChangedFile; from: string; to: string }) {
  const [outcome, setOutcome] = useState<Outcome>();
  const [error, setError] = useState<ApiError>();
  useEffect(() => {
    const gone = new AbortController();
    const fetchText = async (at: string, absent: boolean) =>
      absent ? "" : textOf(await fetchFile(at, file.path, gone.signal));
    Promise.all([fetchText(from, file.change === "added"), fetchText(to, file.change === "removed")])
      .then(([before, after]) => gone.signal.aborted || setOutcome(compareTexts(before, after)))
      .catch((thrown) => gone.signal.aborted || setError(asApiError(thrown)));
    return () => gone.abort();
  }, [file.path, from, to]);
  if (error) return <Failure error={error} />;
  if (!outcome) return <Skeleton lines={3} />;
  return typeof outcome === "string" ? (
    <p class="soft">{outcome}</p>
  ) : (
    <Lines lines={outcome} path={file.path} />
  );
}

async function fetchFile(at: string, path: string, signal: AbortSignal): Promise<Uint8Array> {
  const segments = path.split("/").map(encodeURIComponent).join("/");
  const response = await request(`${API}${at}/files/${segments}`, { signal });
  return new Uint8Array(await response.arrayBuffer());
}

function compareTexts(before: string | null, after: string | null): Outcome {
  if (before === null || after === null) return "It is not a text.";
  const patch = structuredPatch("", "", before, after, undefined, undefined, {
    context: CONTEXT,
    maxEditLength: MOST_EDITS,
  });
  if (!patch) return "Too much differs to be shown line by line.";
  const lines = numberLines(patch.hunks);
  if (lines.length > MOST_LINES)
    return `${lines.length.toLocaleString("en")} lines differ; too many to be shown.`;
  return lines.length ? lines : "The file is empty.";
}

function Lines({ lines, path }: { lines: DiffLine[]; path: string }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by the keyboard
    <section class={styles.diff} tabIndex={0} aria-label={`Changes of ${path}`}>
      <table>
        <tbody>
          {lines.map(({ kind, before, after, text }, index) => (
            <tr key={index} class={ROWS[kind]}>
              <td class="number">{before}</td>
              <td class="number">{after}</td>
              <td class={styles.sign}>{SIGNS[kind]}</td>
              <td>{plain(text)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
