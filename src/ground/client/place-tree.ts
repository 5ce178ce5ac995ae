import { chmod, lstat, mkdir, readFile, rm, symlink } from 'node:fs/promises';
import path from 'node:path';
import { PilotageError, systemCode } from '../base/errors.ts';
import { makeDirectories } from '../content/make-directories.ts';
import { directoryMode } from '../content/permissions.ts';
import { parseTree, type TreeEntry } from '../content/tree.ts';
import { transferAll } from './transfer-all.ts';

/** How a file gets from its digest to a place: `downloadFile`, or a cache in front of it. */
export type PlaceFile = (wanted: WantedFile, destination: string) => Promise<void>;

export interface WantedFile {
  readonly digest: string;
  readonly size: number;
  readonly executable: boolean;
  readonly permissions?: string;
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

/** A directory's content, and its own permissions where they are not the usual ones. */
export interface PlacedTree {
  readonly entries: readonly TreeEntry[];
  readonly permissions?: string | undefined;
}

/**
 * Makes a tree's directories, files and links, links last but for what directories permit. Nothing is written through a
 * link, neither one of the tree nor one that was there before: what such a link leads to was judged from another place.
 */
export async function placeTree(tree: PlacedTree, destination: string, place: PlaceFile): Promise<void> {
  const { entries, permissions } = tree;
  await makeDirectories(destination);
  await allowWriting(destination);
  const made = new Set(['.']);
  for (const entry of entries)
    await makeDirectory(destination, entry.mode === 'directory' ? entry.path : path.dirname(entry.path), made);
  const files = entries.filter((entry) => 'digest' in entry);
  await transferAll(files, ({ digest, size, mode, permissions: bits, path: at }) =>
    place(
      { digest, size, executable: mode === 'executable', ...(bits === undefined ? {} : { permissions: bits }) },
      path.join(destination, at),
    ),
  );
  for (const entry of entries)
    if (entry.mode === 'symlink') await replaceLink(entry.target, path.join(destination, entry.path));
  await protect(entries, destination);
  await chmod(destination, directoryMode({ permissions }));
}

/** What a directory permits comes last, from below: in one that may not be written nothing could be made. */
async function protect(entries: readonly TreeEntry[], root: string): Promise<void> {
  const directories = entries.filter((entry) => entry.mode === 'directory');
  for (const entry of directories.sort((a, b) => b.path.length - a.path.length))
    await chmod(path.join(root, entry.path), directoryMode(entry));
}

/** One from an earlier time may be read-only. */
async function allowWriting(directory: string): Promise<void> {
  const { mode } = await lstat(directory);
  if ((mode & 0o700) !== 0o700) await chmod(directory, (mode & 0o777) | 0o700);
}

/** Step by step from the top, so that a link on the way is seen. */
async function makeDirectory(root: string, below: string, made: Set<string>): Promise<void> {
  if (made.has(below)) return;
  await makeDirectory(root, path.dirname(below), made);
  const directory = path.join(root, below);
  try {
    await mkdir(directory);
    await chmod(directory, directoryMode({}));
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
    if (!(await lstat(directory)).isDirectory()) throw inTheWay(directory);
    await allowWriting(directory);
  }
  made.add(below);
}

function inTheWay(directory: string): PilotageError {
  return new PilotageError(
    'bad-request',
    `'${directory}' is no directory here, perhaps a link, but is to become one: remove it, or put the files elsewhere`,
  );
}

async function replaceLink(target: string, at: string): Promise<void> {
  await rm(at, { force: true });
  await symlink(target, at);
}
