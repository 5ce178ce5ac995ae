/**
 * Where a worker keeps what must outlive it: `<base>/<number>/`, one number for each worker that runs at a time.
 *
 *   lock          who has it: host, process id, start of that process; a dead owner's directory is taken over
 *   id            marks this directory's programs
 *   session.json  the last session (mode 0600), which the next worker here replaces
 *   spool/…       results not yet acknowledged, for each server its own
 *   attempts/…    sandboxes
 *
 * Beside them, in `<base>/cache/`, what was downloaded: one cache for all of them.
 */
import { createHash, randomUUID } from 'node:crypto';
import { statfsSync } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, stat, unlink, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { hostname } from 'node:os';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { PilotageError, systemCode } from '../../ground/base/errors.ts';
import { networkFileSystem } from '../../ground/base/network-disk.ts';
import type { OldSession } from '../../ground/claimant/session.ts';
import { isAlive, type ProcessIdentity, thisProcess } from '../staging/process-identity.ts';

export interface WorkDirectory {
  readonly path: string;
  readonly id: string;
  readonly attempts: string;
  /** Of all workers with this base. */
  readonly cache: string;
  readonly spool: string;
  /** Of the worker that had this directory before, with this server. */
  readonly oldSession?: OldSession;
  /** The ids of other directories here whose workers died: their programs, if any are left, are nobody's. */
  readonly deadIds: readonly string[];
  saveSession(session: OldSession): Promise<void>;
  release(): Promise<void>;
}

const MOST_WORKERS = 1000;

/** The number of the kind of file system of a path, as statfs(2) says it. */
export type FileSystemOf = (path: string) => number;

/** Takes the first free numbered directory below `base`, and what dead workers there had spooled for this server. */
export async function takeWorkDirectory(
  base: string,
  server: string,
  fileSystemOf: FileSystemOf = (where) => statfsSync(where).type,
): Promise<WorkDirectory> {
  await makeOwnBase(base);
  refuseNetwork(base, fileSystemOf);
  const mutex = await holdMutex(`pilotage-${digest(path.resolve(base))}`);
  try {
    const directory = await takeFirst(base);
    const spool = path.join(directory, 'spool', digest(server));
    await mkdir(spool, { recursive: true, mode: 0o700 });
    const deadIds = await adoptSpools(base, directory, digest(server));
    return toWorkDirectory(directory, { spool, server, deadIds, id: await idOf(directory) });
  } finally {
    mutex.close();
  }
}

async function toWorkDirectory(
  directory: string,
  facts: { spool: string; server: string; deadIds: string[]; id: string },
): Promise<WorkDirectory> {
  const sessionFile = path.join(directory, 'session.json');
  const oldSession = await readSession(sessionFile, facts.server);
  return {
    path: directory,
    id: facts.id,
    attempts: path.join(directory, 'attempts'),
    cache: path.join(path.dirname(directory), 'cache'),
    spool: facts.spool,
    deadIds: facts.deadIds,
    ...(oldSession ? { oldSession } : {}),
    saveSession: async (session) => {
      await writeFile(`${sessionFile}.new`, JSON.stringify({ ...session, server: facts.server }), { mode: 0o600 });
      await rename(`${sessionFile}.new`, sessionFile);
    },
    release: () => unlink(path.join(directory, 'lock')).catch(() => undefined),
  };
}

async function makeOwnBase(base: string): Promise<void> {
  await mkdir(base, { recursive: true, mode: 0o700 });
  const { uid } = await stat(base);
  const mine = process.getuid?.() ?? uid;
  if (uid !== mine) {
    throw new PilotageError(
      'forbidden',
      `the work directory ${base} belongs to another user (id ${uid}): name one of your own with --cache`,
    );
  }
}

/** Processes find each other by locks there, and the cache is to spare the network. */
function refuseNetwork(base: string, fileSystemOf: FileSystemOf): void {
  const kind = networkFileSystem(fileSystemOf(base));
  if (!kind) return;
  throw new PilotageError(
    'storage-failed',
    `the work directory ${base} with its cache is on a network file system (${kind}), where files would travel twice and locks do not hold: name a directory on a local disk of this machine with --cache`,
  );
}

async function takeFirst(base: string): Promise<string> {
  for (let number = 1; number <= MOST_WORKERS; number += 1) {
    const directory = path.join(base, String(number));
    await mkdir(directory, { recursive: true, mode: 0o700 });
    if (await takeLock(path.join(directory, 'lock'))) return directory;
  }
  throw new PilotageError('already-exists', `${MOST_WORKERS} workers run with the work directory ${base} already`);
}

async function takeLock(lock: string): Promise<boolean> {
  const owner = await readOwner(lock);
  if (owner === 'unreadable' || (owner && isAlive(owner))) return false;
  if (owner) await unlink(lock);
  try {
    const handle = await open(lock, 'wx', 0o600);
    await handle.writeFile(JSON.stringify(thisProcess()));
    await handle.close();
    return true;
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false;
    throw error;
  }
}

/** An empty lock was about to be written when its worker died, on this host under the mutex: it is nobody's. */
async function readOwner(lock: string): Promise<ProcessIdentity | undefined | 'unreadable'> {
  try {
    const text = await readFile(lock, 'utf8');
    return text === '' ? { host: hostname(), boot: '', pid: 0, startTime: '' } : (JSON.parse(text) as ProcessIdentity);
  } catch (error) {
    return systemCode(error) === 'ENOENT' ? undefined : 'unreadable';
  }
}

/** Results that dead workers of this base spooled for the same server become ours to deliver. */
async function adoptSpools(base: string, mine: string, server: string): Promise<string[]> {
  const dead: string[] = [];
  for (const name of await readdir(base)) {
    const other = path.join(base, name);
    if (!/^\d+$/.test(name) || other === mine) continue;
    const owner = await readOwner(path.join(other, 'lock'));
    if (owner === 'unreadable' || (owner && isAlive(owner))) continue;
    dead.push(await idOf(other));
    const from = path.join(other, 'spool', server);
    for (const file of await readdir(from).catch(() => [])) {
      if (file.endsWith('.json'))
        await rename(path.join(from, file), path.join(mine, 'spool', server, `${name}-${file}`));
    }
  }
  return dead;
}

async function idOf(directory: string): Promise<string> {
  const file = path.join(directory, 'id');
  const known = await readFile(file, 'utf8').catch(() => '');
  if (/^[0-9a-f-]{36}$/.test(known)) return known;
  const made = randomUUID();
  await writeFile(file, made, { mode: 0o600 });
  return made;
}

async function readSession(file: string, server: string): Promise<OldSession | undefined> {
  try {
    const saved = JSON.parse(await readFile(file, 'utf8')) as OldSession & { server: string };
    return saved.server === server ? { session: saved.session, secret: saved.secret } : undefined;
  } catch {
    return undefined;
  }
}

/** A name in the kernel that goes with its process: one worker at a time looks for a directory. */
async function holdMutex(name: string): Promise<net.Server> {
  for (;;) {
    const server = net.createServer();
    const taken = Promise.withResolvers<boolean>();
    server.once('error', () => taken.resolve(false));
    server.listen(`\0${name}`, () => taken.resolve(true));
    if (await taken.promise) return server;
    await wait(20);
  }
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}
