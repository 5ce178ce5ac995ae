import { type Digest, parseDigest } from '../base/digest.ts';
import { messageOf, PilotageError } from '../base/errors.ts';
import { PERMISSIONS_PATTERN } from './permissions.ts';
import { checkLinkTarget, parseSafePath } from './safe-path.ts';

/**
 * What a directory holds at one path. Directories are listed when nothing else says that they exist (empty ones), or
 * what they are like. `permissions` are told where they are not the usual ones (`permissions.ts`).
 */
export type TreeEntry =
  | TreeFile
  | { readonly path: string; readonly mode: 'symlink'; readonly target: string }
  | { readonly path: string; readonly mode: 'directory'; readonly permissions?: string };

export interface TreeFile {
  readonly path: string;
  readonly mode: 'file' | 'executable';
  readonly digest: Digest;
  readonly size: number;
  readonly permissions?: string;
}

export interface Tree {
  readonly entries: readonly TreeEntry[];
}

/** The bytes of a tree: equal directories give equal bytes, and so equal digests. */
export function formatTree(entries: readonly TreeEntry[]): string {
  const lines = [...entries].sort(byPath).map((entry) => JSON.stringify(canonical(entry)));
  return lines.length === 0 ? '{"tree":1,"entries":[]}\n' : `{"tree":1,"entries":[\n${lines.join(',\n')}\n]}\n`;
}

/** Reads what `formatTree` wrote, trusting nothing: every path stays inside, no path comes twice, none runs through a link or a file. */
export function parseTree(text: string): Tree {
  const value = parseJson(text);
  if (!isRecord(value) || value.tree !== 1 || !Array.isArray(value.entries)) throw damaged('it is not a tree');
  const entries = value.entries.map(toEntry);
  checkShape(entries);
  return { entries };
}

export function treeSize(tree: Tree): number {
  return tree.entries.reduce((sum, entry) => sum + ('size' in entry ? entry.size : 0), 0);
}

function checkShape(entries: readonly TreeEntry[]): void {
  const modes = new Map<string, TreeEntry['mode']>();
  for (const entry of entries) {
    if (modes.has(entry.path)) throw damaged(`'${entry.path}' is listed twice`);
    modes.set(entry.path, entry.mode);
  }
  for (const entry of entries) {
    for (const above of parentsOf(entry.path)) {
      const mode = modes.get(above);
      if (mode !== undefined && mode !== 'directory') throw damaged(`'${entry.path}' lies below '${above}', a ${mode}`);
    }
  }
}

function parentsOf(path: string): string[] {
  const parts = path.split('/');
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join('/'));
}

function toEntry(value: unknown): TreeEntry {
  if (!isRecord(value) || typeof value.path !== 'string') throw damaged('an entry has no path');
  const path = parseSafePath(value.path);
  if (path !== value.path) throw damaged(`'${value.path}' is not written plainly`);
  const bits = toPermissions(path, value.permissions);
  if (value.mode === 'directory') return { path, mode: 'directory', ...bits };
  if (value.mode === 'symlink' && typeof value.target === 'string') {
    checkLinkTarget(path, value.target);
    return { path, mode: 'symlink', target: value.target };
  }
  if (
    (value.mode === 'file' || value.mode === 'executable') &&
    typeof value.digest === 'string' &&
    isSize(value.size)
  ) {
    return { path, mode: value.mode, digest: parseDigest(value.digest), size: value.size, ...bits };
  }
  throw damaged(`the entry '${path}' is incomplete`);
}

function canonical(entry: TreeEntry): TreeEntry {
  const { path, mode } = entry;
  if (mode === 'symlink') return { path, mode, target: entry.target };
  const bits = entry.permissions === undefined ? {} : { permissions: entry.permissions };
  return mode === 'directory'
    ? { path, mode, ...bits }
    : { path, mode, digest: entry.digest, size: entry.size, ...bits };
}

function toPermissions(path: string, value: unknown): { readonly permissions?: string } {
  if (value === undefined) return {};
  if (typeof value !== 'string' || !new RegExp(PERMISSIONS_PATTERN).test(value))
    throw damaged(`the entry '${path}' has permissions that are not three octal digits`);
  return { permissions: value };
}

/** By code unit, the same on every machine and in every locale. */
function byPath(a: TreeEntry, b: TreeEntry): number {
  if (a.path === b.path) return 0;
  return a.path < b.path ? -1 : 1;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw damaged(messageOf(error));
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isSize(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function damaged(why: string): PilotageError {
  return new PilotageError('bad-request', `this blob cannot be used as a directory: ${why}`);
}
