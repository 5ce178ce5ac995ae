import { lstat, mkdir, readFile, rm, symlink } from 'node:fs/promises';
import path from 'node:path';
import { PilotageError } from '../base/errors.ts';
import { parseTree, type TreeEntry } from '../content/tree.ts';
import { transferAll } from './transfer-all.ts';

/** How a file gets from its digest to a place: `downloadFile`, or a cache in front of it. */
export type PlaceFile = (wanted: WantedFile, destination: string) => Promise<void>;

export interface WantedFile {
  readonly digest: string;
  readonly size: number;
  readonly executable: boolean;
}

/** A tree larger than this is not a list of files but a mistake. */
const MAX_TREE_BYTES = 256 * 1024 * 1024;

export async function readTree(file: string): Promise<{ entries: readonly TreeEntry[] }> {
  if ((await lstat(file)).size > MAX_TREE_BYTES) {
    throw new PilotageError(
      'bad-request',
      'this blob cannot be used as a directory: it is too large for a list of files',
    );
  }
  return parseTree(await readFile(file, 'utf8'));
}

/** Makes a tree's directories, files and links, links last: nothing is written through one. */
export async function placeTree(entries: readonly TreeEntry[], destination: string, place: PlaceFile): Promise<void> {
  await mkdir(destination, { recursive: true });
  const directories = new Set(
    entries.map((entry) => (entry.mode === 'directory' ? entry.path : path.dirname(entry.path))),
  );
  for (const directory of directories) await mkdir(path.join(destination, directory), { recursive: true });
  const files = entries.filter((entry) => 'digest' in entry);
  await transferAll(files, ({ digest, size, mode, path: at }) =>
    place({ digest, size, executable: mode === 'executable' }, path.join(destination, at)),
  );
  for (const entry of entries)
    if (entry.mode === 'symlink') await replaceLink(entry.target, path.join(destination, entry.path));
}

async function replaceLink(target: string, at: string): Promise<void> {
  await rm(at, { force: true });
  await symlink(target, at);
}
