import { cp, lstat, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { PilotageError, systemCode } from '../../ground/base/errors.ts';
import { removeDirectory } from '../../ground/content/remove-directory.ts';

/** Told before each step, so that a test can end everything there. */
export type AtStep = (step: LifeStep) => void | Promise<void>;
export type LifeStep = 'begin' | 'copied' | 'placed' | 'set-aside' | 'removed' | 'done' | 'submit' | 'submitted';

export interface Move {
  /** Null: the job has none yet. */
  readonly from: string | null;
  readonly to: string;
}

/**
 * Brings a job's directory to its new place, from wherever an earlier try left it. A name at `to` appears whole or not
 * at all: across file systems a copy is written to disk beside it first, and what was copied goes after that. Both names
 * belong to the job (its number and id are in them), so what is there is ours.
 */
export async function moveDirectory({ from, to }: Move, at: AtStep = () => {}): Promise<void> {
  await at('begin');
  await mkdir(path.dirname(to), { recursive: true });
  if (from === to || from === null) {
    if (from === null) await makeDirectory(to);
    else await requireDirectory(to);
    return at('done');
  }
  const [isHere, isThere] = [await isDirectory(from), await isDirectory(to)];
  if (isHere && !isThere) await bring(from, to, at);
  // A copy that was placed whole, and whose source was still to be removed.
  else if (isHere) await discard(from, at);
  else if (!isThere) throw lost(from, to);
  await removeLeftovers(from, to);
  await at('done');
}

async function bring(from: string, to: string, at: AtStep): Promise<void> {
  try {
    await rename(from, to);
    await syncDirectories(path.dirname(from), path.dirname(to));
    await at('placed');
  } catch (error) {
    if (systemCode(error) === 'EACCES' || systemCode(error) === 'EPERM') throw notAllowed(from, to, error);
    if (systemCode(error) !== 'EXDEV') throw error;
    await copyAcross(from, to, at);
    await discard(from, at);
  }
}

/** Whoever moves a directory to another one needs to write into both, and into the directory itself. */
function notAllowed(from: string, to: string, cause: unknown): PilotageError {
  return new PilotageError(
    'forbidden',
    `this account may not move '${from}' to '${path.dirname(to)}': it has to be able to write into both places and into the directory itself. Where another account fills the incoming directory, let both share a group: 'chgrp GROUP DIR' and 'chmod 2775 DIR' for the incoming directory, and 'umask 002' where it is filled; then resubmit the job`,
    { cause },
  );
}

async function copyAcross(from: string, to: string, at: AtStep): Promise<void> {
  const part = partOf(to);
  await removeDirectory(part);
  try {
    await cp(from, part, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true, errorOnExist: true });
    await syncAll(part);
  } catch (error) {
    await removeDirectory(part);
    throw error;
  }
  await at('copied');
  await rename(part, to);
  await syncDirectories(path.dirname(to));
  await at('placed');
}

/** Its name goes first: what is left of it is never taken for the job's. */
async function discard(from: string, at: AtStep): Promise<void> {
  const gone = goneOf(from);
  await removeDirectory(gone);
  await rename(from, gone);
  await syncDirectories(path.dirname(from));
  await at('set-aside');
  await removeDirectory(gone);
  await at('removed');
}

/** Removes a job's directory. Of nothing there it makes nothing. */
export async function removeJobDirectory(directory: string, at: AtStep = () => {}): Promise<void> {
  await at('begin');
  if (await isDirectory(directory)) await discard(directory, at);
  else await removeDirectory(goneOf(directory));
  await at('done');
}

async function removeLeftovers(from: string, to: string): Promise<void> {
  for (const left of [goneOf(from), partOf(to)]) await rm(left, { recursive: true, force: true });
}

/** Hidden names beside a job's directory, for what is not yet, or no longer, the job's. */
export const partOf = (directory: string): string => beside(directory, 'part');
export const goneOf = (directory: string): string => beside(directory, 'gone');

function beside(directory: string, what: string): string {
  return path.join(path.dirname(directory), `.${path.basename(directory)}.${what}`);
}

async function makeDirectory(directory: string): Promise<void> {
  try {
    await mkdir(directory);
    await syncDirectories(path.dirname(directory));
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
    await requireDirectory(directory);
  }
}

async function requireDirectory(directory: string): Promise<void> {
  if (!(await isDirectory(directory))) throw lost(directory, directory);
}

/** Links are not followed: what they lead to is not the job's. */
async function isDirectory(directory: string): Promise<boolean> {
  try {
    const found = await lstat(directory);
    if (found.isDirectory()) return true;
    throw new PilotageError(
      'wrong-state',
      `'${directory}' should be the job's directory, and is a ${found.isSymbolicLink() ? 'link' : 'file'}: it was left alone`,
    );
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false;
    throw error;
  }
}

function lost(from: string, to: string): PilotageError {
  const where = from === to ? `'${from}'` : `'${from}' nor '${to}'`;
  return new PilotageError(
    'not-found',
    `the job's directory is gone: it is ${from === to ? 'not' : 'neither'} ${where}. Somebody removed or renamed it`,
  );
}

/** The first of these that is there. */
export async function findDirectory(places: readonly string[]): Promise<string | null> {
  for (const place of places) if (await isDirectory(place).catch(() => false)) return place;
  return null;
}

/** All of a copy is on disk before it gets its name. */
async function syncAll(directory: string): Promise<void> {
  for (const entry of await readdir(directory, { withFileTypes: true, recursive: true }))
    if (entry.isFile()) await sync(path.join(entry.parentPath, entry.name));
    else if (entry.isDirectory()) await sync(path.join(entry.parentPath, entry.name));
  await sync(directory);
}

async function sync(file: string): Promise<void> {
  const handle = await open(file, 'r').catch((error: unknown) => {
    // What its owner may not read (mode 000) was copied as it is; it cannot be opened for this.
    if (systemCode(error) === 'EACCES') return undefined;
    throw error;
  });
  try {
    await handle?.sync();
  } finally {
    await handle?.close();
  }
}

const syncing = new Map<string, { running: Promise<void>; next: Promise<void> | undefined }>();

/** Names in a directory are on disk. Those who ask at the same time share one call. */
async function syncDirectories(...directories: string[]): Promise<void> {
  await Promise.all([...new Set(directories)].map(syncShared));
}

function syncShared(directory: string): Promise<void> {
  const now = syncing.get(directory);
  // One that runs may have begun before the name was there: the next one counts.
  if (now) {
    now.next ??= now.running.catch(() => {}).then(() => startSync(directory));
    return now.next;
  }
  return startSync(directory);
}

function startSync(directory: string): Promise<void> {
  const entry = { running: sync(directory), next: undefined as Promise<void> | undefined };
  syncing.set(directory, entry);
  return entry.running.finally(() => {
    if (syncing.get(directory) === entry && !entry.next) syncing.delete(directory);
  });
}
