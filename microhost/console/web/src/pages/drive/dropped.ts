/** Read what was dropped or chosen: files, and folders with all that is in them. */

export interface Found {
  file: File;
  /** Relative to what was dropped: "photos/2020/a.jpg". */
  path: string;
}

/** Read a drop. The transfer's items are only there during its event, so they are taken before anything is awaited. */
export async function readDrop(transfer: DataTransfer): Promise<Found[]> {
  const items = [...transfer.items].filter(({ kind }) => kind === "file");
  const taken = items.map((item) => ({ entry: item.webkitGetAsEntry(), file: item.getAsFile() }));
  const found = await Promise.all(
    taken.map(({ entry, file }) => {
      if (entry?.isDirectory) return readDirectory(entry as FileSystemDirectoryEntry, "");
      return file ? [{ file, path: file.name }] : [];
    }),
  );
  return found.flat();
}

/** Read what an input element holds; one for folders tells each file's way. */
export function readChosen(files: Iterable<File>): Found[] {
  return [...files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
}

async function readDirectory(directory: FileSystemDirectoryEntry, above: string): Promise<Found[]> {
  const path = `${above}${directory.name}/`;
  const found: Found[] = [];
  for (const entry of await readEntries(directory.createReader())) {
    if (entry.isDirectory) found.push(...(await readDirectory(entry as FileSystemDirectoryEntry, path)));
    else {
      const file = await new Promise<File>((give, refuse) =>
        (entry as FileSystemFileEntry).file(give, refuse),
      );
      found.push({ file, path: path + file.name });
    }
  }
  return found;
}

/** A reader gives its entries in pieces; an empty one is the last. */
async function readEntries(reader: FileSystemDirectoryReader): Promise<FileSystemEntry[]> {
  const all: FileSystemEntry[] = [];
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((give, refuse) => reader.readEntries(give, refuse));
    if (!some.length) return all;
    all.push(...some);
  }
}
