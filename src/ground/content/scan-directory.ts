import type { Dirent, Stats } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import path from 'node:path';
import { PilotageError } from '../base/errors.ts';
import { type Hashed, hashFile } from './hash-file.ts';
import { inLanes } from './in-lanes.ts';
import { directoryPermissions, filePermissions } from './permissions.ts';
import { textOfName } from './readable-name.ts';
import { checkLinkTarget } from './safe-path.ts';
import type { TreeEntry, TreeFile } from './tree.ts';

/** Files that are read side by side. */
export const HASH_LANES = 4;

/** What a directory holds, before its files were read: sizes as they were listed. */
export type Listed = Omit<TreeFile, 'digest'> | Extract<TreeEntry, { mode: 'symlink' | 'directory' }>;

/** Reads a file, or knows its digest from before. */
export type HashOf = (file: string) => Promise<Hashed>;

/** A directory as the entries of a tree. Rejects as `listDirectory` and `hashFile` do. */
export async function scanDirectory(root: string, hash: HashOf = hashFile): Promise<TreeEntry[]> {
  const entries: TreeEntry[] = [];
  await inLanes(await listDirectory(root), HASH_LANES, async (listed) => {
    entries.push(await toEntry(root, listed, hash));
  });
  return entries;
}

export async function toEntry(root: string, listed: Listed, hash: HashOf): Promise<TreeEntry> {
  if (listed.mode === 'symlink' || listed.mode === 'directory') return listed;
  const { digest, size } = await hash(path.join(root, listed.path));
  return { ...listed, digest, size };
}

/**
 * Lists a directory, links as links. Rejects when a link leads outside, for a name that is not UTF-8, and for what is
 * neither file, directory nor link (a socket, a pipe, a device): such things cannot be kept.
 */
export async function listDirectory(root: string): Promise<Listed[]> {
  const listed: Listed[] = [];
  const open: string[] = [''];
  for (let below = open.pop(); below !== undefined; below = open.pop()) {
    const directory = path.join(root, below);
    const found = await readdir(directory, { withFileTypes: true, encoding: 'buffer' });
    if (below !== '') {
      const bits = directoryPermissions((await lstat(directory)).mode);
      if (found.length === 0 || bits.permissions !== undefined)
        listed.push({ path: below, mode: 'directory', ...bits });
    }
    const known = await Promise.all(
      found.map((entry) => {
        const name = textOfName(entry.name, directory);
        return toListed(root, below === '' ? name : `${below}/${name}`, entry);
      }),
    );
    for (const one of known) {
      if (typeof one === 'string') open.push(one);
      else listed.push(one);
    }
  }
  return listed;
}

export function fileEntry(path: string, { mode, size }: Stats): Omit<TreeFile, 'digest'> {
  const { executable, permissions } = filePermissions(mode);
  return {
    path,
    mode: executable ? 'executable' : 'file',
    size,
    ...(permissions === undefined ? {} : { permissions }),
  };
}

/** A directory comes back as its path. */
async function toListed(root: string, at: string, found: Dirent<Buffer>): Promise<Listed | string> {
  if (found.isDirectory()) return at;
  const file = path.join(root, at);
  if (found.isSymbolicLink()) {
    const target = textOfName(await readlink(file, { encoding: 'buffer' }), `${file} ->`);
    checkLinkTarget(at, target);
    return { path: at, mode: 'symlink', target };
  }
  checkKeepable(file, found);
  return fileEntry(at, await lstat(file));
}

/** What is no file cannot be kept. */
export function checkKeepable(file: string, found: Pick<Stats, 'isFile' | 'isSocket' | 'isFIFO'>): void {
  if (found.isFile()) return;
  const kind = found.isSocket() ? 'socket' : found.isFIFO() ? 'pipe' : 'device';
  throw new PilotageError(
    'bad-request',
    `'${file}' is a ${kind}, which cannot be kept: remove it, or name the files around it`,
  );
}
