import type { Dirent, Stats } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import path from 'node:path';
import { PilotageError } from '../base/errors.ts';
import { hashFile } from './hash-file.ts';
import { checkLinkTarget } from './safe-path.ts';
import type { TreeEntry } from './tree.ts';

/**
 * Lists a directory as the entries of a tree, links as links. Rejects when a link leads outside, and for what is
 * neither file, directory nor link (a socket, a pipe, a device): such things cannot be kept.
 */
export async function scanDirectory(root: string): Promise<TreeEntry[]> {
  const entries: TreeEntry[] = [];
  const open: string[] = [''];
  for (let below = open.pop(); below !== undefined; below = open.pop()) {
    const names = await readdir(path.join(root, below), { withFileTypes: true });
    if (names.length === 0 && below !== '') entries.push({ path: below, mode: 'directory' });
    for (const name of names) {
      const at = below === '' ? name.name : `${below}/${name.name}`;
      if (name.isDirectory()) open.push(at);
      else entries.push(await toEntry(root, at, name));
    }
  }
  return entries;
}

export function isExecutable(stats: Stats): boolean {
  return (stats.mode & 0o111) !== 0;
}

async function toEntry(root: string, at: string, found: Dirent): Promise<TreeEntry> {
  const file = path.join(root, at);
  if (found.isSymbolicLink()) {
    const target = await readlink(file);
    checkLinkTarget(at, target);
    return { path: at, mode: 'symlink', target };
  }
  if (!found.isFile()) {
    throw new PilotageError(
      'bad-request',
      `'${file}' is a ${kindOf(found)}, which cannot be kept: remove it, or name the files around it`,
    );
  }
  const stats = await lstat(file);
  return { path: at, mode: isExecutable(stats) ? 'executable' : 'file', ...(await hashFile(file)) };
}

function kindOf(found: Dirent): string {
  if (found.isSocket()) return 'socket';
  return found.isFIFO() ? 'pipe' : 'device';
}
