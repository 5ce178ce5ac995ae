import { realpath } from 'node:fs/promises';
import path from 'node:path';
import { PilotageError, systemCode } from '../base/errors.ts';

/**
 * Names of inputs and outputs, and of entries of a tree, are relative paths that stay below the directory they are
 * relative to. Returns the name in its plainest form (`./a//b/` is `a/b`); refuses any other.
 */
export function parseSafePath(name: string): string {
  const why = faultOf(name);
  if (why !== undefined) throw unsafe(name, why);
  const plain = path.posix.normalize(name).replace(/\/$/, '');
  if (plain === '.') throw unsafe(name, 'names the directory itself');
  return plain;
}

function faultOf(name: string): string | undefined {
  if (name === '') return 'is empty';
  if (name.includes('\0')) return 'contains a NUL byte';
  if (name.startsWith('/')) return 'is absolute';
  if (name.split('/').includes('..')) return "leads upwards with '..'";
  return Buffer.byteLength(name) > 4096 ? 'is longer than 4096 bytes' : undefined;
}

/**
 * A link inside a tree must lead to a place inside the tree: `at` is the link's own path, `target` what it says.
 * `..` may only come first: after the name of another link it would start from where that one leads.
 */
export function checkLinkTarget(at: string, target: string): void {
  if (target === '' || target.includes('\0')) throw unsafe(at, 'is a link without a usable target');
  if (target.startsWith('/')) throw unsafe(at, `is a link to the absolute path '${target}'`);
  const parts = target.split('/').filter((part) => part !== '' && part !== '.');
  const ups = parts.filter((part) => part === '..').length;
  if (parts.slice(0, ups).some((part) => part !== '..')) throw unsafe(at, `is a link with '..' inside, to '${target}'`);
  if (ups >= at.split('/').length) throw unsafe(at, `is a link that leads outside, to '${target}'`);
}

/**
 * Where `name` really is below `root`, all links followed. Refuses a name whose links lead outside of `root`;
 * undefined when there is nothing.
 */
export async function resolveInside(root: string, name: string): Promise<string | undefined> {
  const plain = parseSafePath(name);
  const [top, found] = await Promise.all([realpath(root), realpathIfThere(path.join(root, plain))]);
  if (found === undefined) return undefined;
  if (found !== top && !found.startsWith(`${top}/`)) throw unsafe(name, `is a link that leads outside, to '${found}'`);
  return found;
}

async function realpathIfThere(file: string): Promise<string | undefined> {
  try {
    return await realpath(file);
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}

function unsafe(name: string, why: string): PilotageError {
  return new PilotageError(
    'bad-request',
    `the path '${name.slice(0, 200)}' ${why}: name a file below the task's own directory`,
  );
}
