import { mkdir, open, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import path from 'node:path';
import { systemCode } from '../../base/errors.ts';
import { makeDirectories } from '../../content/make-directories.ts';
import type { CopyStarted, Manifest } from '../../protocol/backup.ts';
import type { Client } from '../client.ts';
import type { Patience } from '../patience.ts';
import { backupCalls } from './calls.ts';
import { type CopiedDatabase, type CopySource, copyDatabase } from './copy-database.ts';
import { copyFiles } from './copy-files.ts';
import { backupsIn, blobPath, DATABASE, FILES, IDENTITY, INCOMPLETE, nameAt, sync } from './layout.ts';
import { describeFile, writeManifest } from './manifest.ts';
import { toTargetError } from './target-error.ts';

export interface BackupWish {
  readonly client: Client;
  /** Made if missing. */
  readonly directory: string;
  readonly withIdentity: boolean;
  readonly now: Date;
  readonly patience?: Patience;
  /** Told while files are copied. */
  readonly onProgress: (done: { files: number }, total: number) => void;
}

export interface BackupTaken {
  readonly name: string;
  readonly path: string;
  readonly manifest: Manifest;
  /** Bytes of files that were not there from an earlier backup. */
  readonly newBytes: number;
}

/**
 * Makes a backup. It has its name once it is whole; what was broken off before is never taken for one, and its files
 * are not fetched again.
 */
export async function takeBackup(wish: BackupWish): Promise<BackupTaken> {
  const { directory } = wish;
  try {
    // Who may not make one leaves nothing behind.
    const started = await wish.client.call(backupCalls.startBackup);
    const source: CopySource = {
      client: wish.client,
      id: started.id,
      ...(wish.patience ? { patience: wish.patience } : {}),
    };
    try {
      await makeOnDisk(path.join(directory, 'blobs'));
      const place = await newPlace(directory, wish.now);
      return await fill(wish, { place, source, started });
    } finally {
      await wish.client
        .call(backupCalls.endCopy, { params: { id: started.id }, timeoutSeconds: 5 })
        .catch(() => undefined);
    }
  } catch (error) {
    throw toTargetError(
      error,
      directory,
      `the server is not touched by that. Run it again, and it goes on with what is there`,
    );
  }
}

async function makeOnDisk(directory: string): Promise<void> {
  for (const made of await makeDirectories(directory, 0o700))
    await sync(path.dirname(made)).catch((error: unknown) => {
      // One may write into a directory that one may not read, and only what can be opened can be synced.
      if (systemCode(error) !== 'EACCES') throw error;
    });
}

interface Making {
  readonly place: { readonly name: string; readonly path: string };
  readonly source: CopySource;
  readonly started: CopyStarted;
}

async function fill(wish: BackupWish, { place, source, started }: Making): Promise<BackupTaken> {
  const { directory } = wish;
  const at = (file: string): string => path.join(place.path, file);
  const database = await copyDatabase(source, { database: at(DATABASE), files: at(FILES) });
  const sign = createSign(place.path);
  const { lost, newBytes } = await copyFiles(source, {
    list: at(FILES),
    pathOf: (digest) => blobPath(directory, digest),
    onFile: (done) => {
      sign();
      wish.onProgress(done, database.files);
    },
  });
  await removeBroken(directory, wish.now);
  for (const above of [path.join(directory, 'blobs'), directory]) await sync(above);
  if (wish.withIdentity) await keepIdentity(source, at(IDENTITY));
  for (const file of [DATABASE, FILES]) await sync(at(file));
  const manifest = await describe(place.path, { started, database, lost, hasIdentity: wish.withIdentity });
  await writeManifest(place.path, manifest);
  const whole = path.join(directory, place.name);
  await sync(place.path);
  await rename(place.path, whole);
  await sync(directory);
  return { name: place.name, path: whole, manifest, newBytes };
}

async function newPlace(directory: string, now: Date): Promise<Making['place']> {
  const base = nameAt(now);
  const taken = new Set((await backupsIn(directory)).map(({ name }) => name));
  let name = base;
  for (let n = 2; taken.has(name); n += 1) name = `${base}-${n}`;
  const place = path.join(directory, `${name}${INCOMPLETE}`);
  await mkdir(place, { mode: 0o700 });
  return { name, path: place };
}

/** Whoever reads it can stand in for the server. */
async function keepIdentity({ client, id }: CopySource, to: string): Promise<void> {
  const identity = await client.call(backupCalls.copyIdentity, { params: { id } });
  const file = await open(to, 'wx', 0o600);
  try {
    await file.writeFile(`${JSON.stringify(identity, null, 2)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
}

interface Found {
  readonly started: CopyStarted;
  readonly database: CopiedDatabase;
  readonly lost: readonly string[];
  readonly hasIdentity: boolean;
}

async function describe(place: string, { started, database, lost, hasIdentity }: Found): Promise<Manifest> {
  return {
    pilotage: 'backup',
    format: 1,
    version: started.version,
    takenAt: started.at,
    project: null,
    database: await describeFile(place, DATABASE),
    files: await describeFile(place, FILES),
    identity: hasIdentity ? await describeFile(place, IDENTITY) : null,
    counts: { rows: database.rows, files: database.files, bytes: database.bytes },
    lost: [...lost],
  };
}

/** What shows no sign for so long is not being made any more. */
const BROKEN_MS = 86_400_000;
const SIGN_MS = 60_000;

/** Says now and then that this backup is being made: files that come change nothing in its own directory. */
function createSign(place: string): () => void {
  let last = performance.now();
  return () => {
    if (performance.now() - last < SIGN_MS) return;
    last = performance.now();
    const now = new Date();
    // Where it fails, so will what is written next, which says so.
    void utimes(place, now, now).catch(() => undefined);
  };
}

async function removeBroken(directory: string, now: Date): Promise<void> {
  const blobs = path.join(directory, 'blobs');
  const parts = (await readdir(blobs, { recursive: true })).filter((name) => name.endsWith('.part'));
  const begun = (await readdir(directory)).filter((name) => name.endsWith(INCOMPLETE));
  const all = [...begun.map((name) => path.join(directory, name)), ...parts.map((name) => path.join(blobs, name))];
  for (const one of all) await removeIfOld(one, now);
}

/** Another one may remove it too, and somebody else's is theirs to remove. */
async function removeIfOld(place: string, now: Date): Promise<void> {
  try {
    if (now.getTime() - (await stat(place)).mtimeMs > BROKEN_MS) await rm(place, { recursive: true, force: true });
  } catch (error) {
    if (!['ENOENT', 'EACCES', 'EPERM'].includes(systemCode(error) ?? '')) throw error;
  }
}
