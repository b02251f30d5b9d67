/** Keep the uploads of each Drive while one walks through the console: they go on wherever one looks. */

import { type Signal, signal } from "@preact/signals";
import { type DriveAt, transportTo } from "./files";
import { Uploader } from "./upload";

const SHOWN_EVERY_MS = 100;

export interface Uploading {
  uploader: Uploader;
  /** Changes when there is something new to show, at most ten times a second. */
  tick: Signal<number>;
}

const known = new Map<string, Uploading>();

/** Give the uploads to a Drive. */
export function uploadingTo(drive: DriveAt): Uploading {
  const name = `${drive.projectId}/${drive.drive}`;
  let found = known.get(name);
  if (!found) {
    found = begin(drive);
    known.set(name, found);
  }
  return found;
}

function begin(drive: DriveAt): Uploading {
  const tick = signal(0);
  let waits = false;
  const uploader: Uploader = new Uploader(transportTo(drive), () => {
    if (waits) return;
    waits = true;
    setTimeout(() => {
      waits = false;
      tick.value += 1;
      holdPage();
    }, SHOWN_EVERY_MS);
  });
  return { uploader, tick };
}

/** Ask before the tab is closed while something is on its way. */
function holdPage(): void {
  const busy = [...known.values()].some(({ uploader }) => uploader.summary().busy);
  if (busy) addEventListener("beforeunload", ask);
  else removeEventListener("beforeunload", ask);
}

function ask(event: BeforeUnloadEvent): void {
  event.preventDefault();
}
