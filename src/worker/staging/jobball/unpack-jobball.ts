import { createWriteStream } from 'node:fs';
import { chmod, lstat, mkdir, symlink } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { extract, list } from 'tar';
import yauzl from 'yauzl';
import { messageOf, PilotageError } from '../../../ground/base/errors.ts';
import { checkLinkTarget, parseSafePath } from '../../../ground/content/safe-path.ts';
import type { JobballFormat } from './pack-jobball.ts';

const KIND = 0o170000;
const LINK = 0o120000;
const DIRECTORY = 0o040000;
/** A link's text is a path. */
const MOST_LINK_BYTES = 4096;

/**
 * Unpacks what came back into a new directory. Nothing is ever written outside of it: a name that leads out, a link that
 * leads out, or a path through a link is refused, and with it the whole archive.
 */
export async function unpackJobball(file: string, directory: string, format: JobballFormat): Promise<void> {
  await mkdir(directory, { mode: 0o700 });
  try {
    await (format === 'zip' ? unzip(file, directory) : untar(file, directory));
  } catch (error) {
    if (error instanceof PilotageError) throw error;
    throw new PilotageError('bad-request', `what came back is no usable archive: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

async function unzip(file: string, directory: string): Promise<void> {
  const archive = await openZip(file);
  const links: { readonly at: string; readonly target: string }[] = [];
  const modes: { readonly at: string; readonly mode: number }[] = [];
  const made = new Set(['.']);
  for await (const entry of entriesOf(archive)) {
    const name = safeName(entry.fileName.replace(/\/+$/, ''));
    const at = path.join(directory, name);
    const mode = entry.externalFileAttributes >>> 16;
    if ((mode & KIND) === LINK) {
      if (entry.uncompressedSize > MOST_LINK_BYTES) throw unsafe(name, 'is a link that is far too long');
      links.push({ at, target: safeTarget(name, await textOf(archive, entry)) });
    } else if (entry.fileName.endsWith('/') || (mode & KIND) === DIRECTORY) {
      await makeDirectory(directory, name, made);
      modes.push({ at, mode });
    } else {
      await makeDirectory(directory, path.posix.dirname(name), made);
      await pipeline(await streamOf(archive, entry), createWriteStream(at, { flags: 'wx', mode: 0o600 }));
      modes.push({ at, mode });
    }
  }
  for (const { at, target } of links) {
    await makeDirectory(directory, path.relative(directory, path.dirname(at)) || '.', made);
    await symlink(target, at);
  }
  // From below: a directory that may not be entered hides what is in it.
  for (const { at, mode } of modes.reverse()) if ((mode & 0o777) !== 0) await chmod(at, mode & 0o777);
}

/** Step by step, so that what lies below a file is refused. */
async function makeDirectory(root: string, below: string, made: Set<string>): Promise<void> {
  if (made.has(below)) return;
  await makeDirectory(root, path.posix.dirname(below), made);
  const at = path.join(root, below);
  await mkdir(at, { recursive: true, mode: 0o700 });
  if (!(await lstat(at)).isDirectory()) throw unsafe(below, 'is a file and a directory');
  made.add(below);
}

function openZip(file: string): Promise<yauzl.ZipFile> {
  const { promise, resolve, reject } = Promise.withResolvers<yauzl.ZipFile>();
  // Names are judged by our own rules, with our own words.
  yauzl.open(file, { lazyEntries: true, autoClose: true, decodeStrings: true, strictFileNames: true }, (error, zip) =>
    error ? reject(error) : resolve(zip),
  );
  return promise;
}

async function* entriesOf(archive: yauzl.ZipFile): AsyncGenerator<yauzl.Entry> {
  for (;;) {
    const { promise, resolve, reject } = Promise.withResolvers<yauzl.Entry | undefined>();
    const onEntry = (entry: yauzl.Entry): void => resolve(entry);
    const onEnd = (): void => resolve(undefined);
    archive.once('entry', onEntry).once('end', onEnd).once('error', reject);
    archive.readEntry();
    const entry = await promise.finally(() => archive.off('entry', onEntry).off('end', onEnd).off('error', reject));
    if (!entry) return;
    yield entry;
  }
}

function streamOf(archive: yauzl.ZipFile, entry: yauzl.Entry): Promise<NodeJS.ReadableStream> {
  const { promise, resolve, reject } = Promise.withResolvers<NodeJS.ReadableStream>();
  archive.openReadStream(entry, (error, stream) => (error ? reject(error) : resolve(stream)));
  return promise;
}

async function textOf(archive: yauzl.ZipFile, entry: yauzl.Entry): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of await streamOf(archive, entry)) pieces.push(piece as Buffer);
  return Buffer.concat(pieces).toString();
}

/** Everything is judged before anything is written; paths through links tar itself refuses. */
async function untar(file: string, directory: string): Promise<void> {
  let fault: unknown;
  await list({
    file,
    strict: true,
    onReadEntry: (entry) => {
      try {
        judge(entry);
      } catch (error) {
        fault ??= error;
      }
    },
  });
  if (fault) throw fault;
  await extract({ file, cwd: directory, strict: true, preserveOwner: false, preservePaths: false });
}

const KEPT = ['File', 'OldFile', 'ContiguousFile', 'Directory', 'GNUDumpDir', 'SymbolicLink', 'Link'];

function judge({ path: name, type, linkpath }: { path: string; type: string; linkpath?: string }): void {
  const plain = name.replace(/^(\.\/)+/, '').replace(/\/+$/, '');
  if (plain === '' || plain === '.') return;
  safeName(plain);
  if (type === 'SymbolicLink') safeTarget(plain, linkpath ?? '');
  else if (type === 'Link') safeName((linkpath ?? '').replace(/^(\.\/)+/, ''));
  else if (!KEPT.includes(type)) throw unsafe(plain, `is a ${type}, which cannot be kept`);
}

function safeName(name: string): string {
  try {
    return parseSafePath(name);
  } catch (error) {
    throw unsafe(name, `does not stay inside: ${messageOf(error)}`);
  }
}

function safeTarget(name: string, target: string): string {
  try {
    checkLinkTarget(name, target);
  } catch (error) {
    throw unsafe(name, messageOf(error));
  }
  return target;
}

function unsafe(name: string, what: string): PilotageError {
  return new PilotageError(
    'bad-request',
    `the archive that came back is not to be trusted, and none of it is used: ${JSON.stringify(name)} ${what}`,
  );
}
