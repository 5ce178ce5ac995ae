import type { Dirent } from 'node:fs';
import { lstat, readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import picomatch from 'picomatch';
import { messageOf, PilotageError } from '../../ground/base/errors.ts';
import type { FileStore } from '../../ground/client/file-store.ts';
import { ServerUnreachable } from '../../ground/client/transport.ts';
import { uploadPath } from '../../ground/client/upload.ts';
import { textOfName } from '../../ground/content/readable-name.ts';
import { parseSafePath, resolveInside } from '../../ground/content/safe-path.ts';
import type { OutputPattern } from '../../ground/protocol/spec.ts';
import type { OutputFile } from '../../ground/protocol/task.ts';
import { mayWorkLater } from './retry.ts';

export interface OutputsWanted {
  readonly store: FileStore;
  readonly sandbox: string;
  readonly patterns: readonly OutputPattern[];
}

/** What became of the outputs. `fault` is the first thing wrong with them; what is there is uploaded all the same. */
export interface Collected {
  readonly outputs: readonly OutputFile[];
  readonly fault?: { readonly reason: 'missing-output' | 'output-failed'; readonly message: string };
}

/** Finds and uploads what matches. Rejects only when the server is away, and then may be called again. */
export async function collectOutputs(wanted: OutputsWanted): Promise<Collected> {
  const outputs = new Map<string, OutputFile>();
  let fault: Collected['fault'];
  const orFault = async (what: string, act: () => Promise<void>): Promise<void> => {
    try {
      await act();
    } catch (error) {
      if (mayWorkLater(error) || error instanceof ServerUnreachable || wanted.store.signal?.aborted) throw error;
      fault ??= { reason: 'output-failed', message: `the output '${what}' could not be kept: ${messageOf(error)}` };
    }
  };
  for (const { pattern, optional } of wanted.patterns) {
    await orFault(pattern, async () => {
      const names = await findMatches(wanted.sandbox, pattern);
      if (names.length === 0 && !optional)
        fault ??= { reason: 'missing-output', message: await missing(wanted, pattern) };
      for (const name of names)
        if (!outputs.has(name)) await orFault(name, async () => void outputs.set(name, await upload(wanted, name)));
    });
  }
  return { outputs: [...outputs.values()], ...(fault ? { fault } : {}) };
}

/** A literal name is a file or directory; a pattern matches files, links and directories, each taken as a whole. */
export async function findMatches(sandbox: string, pattern: string): Promise<string[]> {
  const plain = parseSafePath(pattern);
  if (!picomatch.scan(plain).isGlob) return (await exists(path.join(sandbox, plain))) ? [plain] : [];
  const matches = picomatch(plain, { dot: plain.startsWith('.') });
  const found: string[] = [];
  const open = [''];
  for (let below = open.pop(); below !== undefined; below = open.pop()) {
    const directory = path.join(sandbox, below);
    for (const entry of await readdir(directory, { withFileTypes: true, encoding: 'buffer' })) {
      const own = textOfName(entry.name, below === '' ? '.' : below);
      const name = below === '' ? own : `${below}/${own}`;
      if (matches(name)) found.push(name);
      else if (entry.isDirectory()) open.push(name);
    }
  }
  return found.sort();
}

/** Where an output really is, its links followed: inside the sandbox, a file or a directory. */
export async function resolveOutput(sandbox: string, name: string): Promise<string> {
  const file = await resolveInside(sandbox, name);
  if (file === undefined) throw new PilotageError('bad-request', `'${name}' is a link to nothing`);
  const stats = await stat(file);
  if (!stats.isFile() && !stats.isDirectory())
    throw new PilotageError('bad-request', `'${name}' is no file or directory`);
  return file;
}

async function upload(wanted: OutputsWanted, name: string): Promise<OutputFile> {
  const file = await resolveOutput(wanted.sandbox, name);
  return { name, ...(await uploadPath(wanted.store, file)) };
}

async function missing(wanted: OutputsWanted, pattern: string): Promise<string> {
  const there = (await readdir(wanted.sandbox, { withFileTypes: true })).map(display).sort();
  const more = there.length > 10 ? ` and ${there.length - 10} more` : '';
  const list = there.length === 0 ? 'nothing' : `${there.slice(0, 10).join(', ')}${more}`;
  return `the program ended well, but left no '${pattern}'. Its directory holds ${list}. Correct the output's name, or mark it as optional.`;
}

function display(entry: Dirent): string {
  return entry.isDirectory() ? `${entry.name}/` : entry.name;
}

async function exists(file: string): Promise<boolean> {
  return lstat(file).then(
    () => true,
    () => false,
  );
}
