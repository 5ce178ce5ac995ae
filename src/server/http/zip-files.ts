import type { Readable } from 'node:stream';
import { ZipFile } from 'yazl';

export interface ZippedFile {
  readonly path: string;
  readonly size: number;
  readonly isExecutable: boolean;
  open(): Promise<Readable>;
}

/**
 * An archive as it is made: one file is open at a time, and none once nobody reads on. A file that is lost in the middle
 * breaks it off: an archive that looks whole would be a lie.
 */
export function zipOf(files: readonly ZippedFile[]): Readable {
  const zip = new ZipFile();
  const archive = zip.outputStream as Readable;
  let current: Readable | undefined;
  const breakOff = (error: unknown): void => void archive.destroy(error as Error);
  zip.on('error', breakOff);
  archive.once('close', () => current?.destroy());
  const names = new Set<string>();
  for (const { path, size, isExecutable, open } of files)
    zip.addReadStreamLazy(nameIn(names, path), { size, mode: isExecutable ? 0o100755 : 0o100644 }, (give) => {
      if (archive.destroyed) return;
      open().then((bytes) => {
        current = bytes.on('error', breakOff);
        if (archive.destroyed) bytes.destroy();
        else give(null, bytes);
      }, breakOff);
    });
  zip.end();
  return archive;
}

/** Other systems take '\\' for a step down and 'A:' for a disk: there such a name would lie elsewhere, or nowhere. */
function nameIn(taken: Set<string>, path: string): string {
  const plain = path.replaceAll('\\', '_').replace(/^([A-Za-z]):/, '$1_');
  let name = plain;
  for (let n = 2; taken.has(name); n += 1) name = `${plain}-${n}`;
  taken.add(name);
  return name;
}
