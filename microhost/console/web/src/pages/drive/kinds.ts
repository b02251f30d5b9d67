/** What can be looked at in the browser, decided by the name alone: what an uploader says of a file counts for nothing. Pure. */

export type Kind = "image" | "audio" | "video" | "pdf" | "text";

export interface Preview {
  kind: Kind;
  /** The type that we give to the bytes; never one in which a script could run. */
  type: string;
}

const IMAGES: Record<string, string> = {
  apng: "image/apng",
  avif: "image/avif",
  bmp: "image/bmp",
  gif: "image/gif",
  ico: "image/x-icon",
  jfif: "image/jpeg",
  jpeg: "image/jpeg",
  jpg: "image/jpeg",
  png: "image/png",
  // shown by an img element only, which runs no script and fetches nothing
  svg: "image/svg+xml",
  webp: "image/webp",
};
const AUDIO = "aac flac m4a mp3 oga ogg opus wav weba".split(" ");
const VIDEO = "m4v mov mp4 ogv webm".split(" ");
const TEXT =
  `bash bat c cc cfg cjs conf cpp cs css csv diff dockerfile env fish gitignore go gradle graphql h hpp htm html
  ics ini ipynb java jinja js json json5 jsonl jsx kt less lock log lua m3u makefile map markdown md mjs ndjson nix
  patch php pl po properties proto ps1 py pyi r rb rs rst sass scala scss sh sql srt svelte swift tex text tf toml ts
  tsv tsx txt vtt vue xhtml xml yaml yml zig zsh`.split(/\s+/);
const BARE = new Set(["dockerfile", "license", "makefile", "notice", "procfile", "readme"]);
const NAMES: Record<Kind, string> = {
  image: "Image",
  audio: "Audio",
  video: "Video",
  pdf: "PDF",
  text: "Text",
};

const TYPES: Map<string, Preview> = new Map([
  ...Object.entries(IMAGES).map(([ending, type]): [string, Preview] => [ending, { kind: "image", type }]),
  ...AUDIO.map((ending): [string, Preview] => [ending, { kind: "audio", type: "" }]),
  ...VIDEO.map((ending): [string, Preview] => [ending, { kind: "video", type: "" }]),
  ...TEXT.map((ending): [string, Preview] => [ending, { kind: "text", type: "text/plain" }]),
  ["pdf", { kind: "pdf", type: "application/pdf" }],
]);

/** Tell how a file of this name can be looked at, null when it cannot. */
export function previewOf(name: string): Preview | null {
  const last = name.slice(name.lastIndexOf("/") + 1).toLowerCase();
  if (BARE.has(last)) return { kind: "text", type: "text/plain" };
  const dot = last.lastIndexOf(".");
  return dot < 0 ? null : (TYPES.get(last.slice(dot + 1)) ?? null);
}

/** Say in a word what a file is. */
export function kindOf(name: string): string {
  const preview = previewOf(name);
  if (preview) return NAMES[preview.kind];
  const ending = /\.([a-z0-9]{1,8})$/i.exec(name)?.[1];
  return ending ? ending.toUpperCase() : "File";
}
