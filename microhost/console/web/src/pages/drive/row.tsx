import { Download, File as FileIcon, FileText, Film, Folder, Image as ImageIcon, Music } from "lucide-preact";
import { Link } from "wouter-preact";
import style from "./drive.module.css";
import { type DriveAt, downloadAddress } from "./files";
import { kindOf, previewOf } from "./kinds";
import { type Entry, shown } from "./names";

const PICTURES = { image: ImageIcon, audio: Music, video: Film, pdf: FileText, text: FileText };

/** One file or folder; what can be opened is marked. */
export function Row({
  drive,
  entry: { kind, name, label },
  chosen,
  onChosen,
  folder,
  onPreview,
}: {
  drive: DriveAt;
  entry: Entry;
  chosen: boolean;
  onChosen: (on: boolean) => void;
  folder: (prefix: string) => string;
  onPreview: (name: string) => void;
}) {
  const preview = kind === "file" ? previewOf(name) : null;
  const Picture = kind === "folder" ? Folder : preview ? PICTURES[preview.kind] : FileIcon;
  const inner = (
    <>
      <Picture size={16} aria-hidden="true" /> <span>{shown(label)}</span>
    </>
  );
  return (
    <tr>
      <td>
        <input
          type="checkbox"
          aria-label={`Choose ${label}`}
          checked={chosen}
          onChange={(event) => onChosen(event.currentTarget.checked)}
        />
      </td>
      <td>
        {kind === "folder" ? (
          <Link href={folder(name)} class={`${style.name} ${style.opens}`}>
            {inner}
          </Link>
        ) : preview ? (
          <button type="button" class={`${style.name} ${style.opens}`} onClick={() => onPreview(name)}>
            {inner}
          </button>
        ) : (
          <span class={style.name}>{inner}</span>
        )}
      </td>
      <td class={`soft ${style.kind}`}>{kind === "folder" ? "Folder" : kindOf(name)}</td>
      <td>
        {kind === "file" && (
          <a
            class="button ghost icon-only small"
            href={downloadAddress(drive, name)}
            download={label}
            aria-label={`Download ${label}`}
            title="Download"
          >
            <Download size={16} aria-hidden="true" />
          </a>
        )}
      </td>
    </tr>
  );
}
