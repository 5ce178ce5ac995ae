import { randomUUID } from 'node:crypto';
import { createReadStream, existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createGunzip } from 'node:zlib';
import type { RestoreOptions, RestoreReport } from '../face/cli/context.ts';
import { parseDigest } from '../ground/base/digest.ts';
import { PilotageError } from '../ground/base/errors.ts';
import { batchesOf } from '../ground/client/backup/copy-files.ts';
import { blobPath, findBackup, sync } from '../ground/client/backup/layout.ts';
import { requireSound, verifyBackup } from '../ground/client/backup/verify-backup.ts';
import { inLanes } from '../ground/content/in-lanes.ts';
import { makeDirectories } from '../ground/content/make-directories.ts';
import type { Manifest, ServerIdentity } from '../ground/protocol/backup.ts';
import { openBlobs } from '../server/blobs/blobs.ts';
import type { Loaded, LoadWish } from '../server/store/dump/load-dump.ts';
import { readDump } from '../server/store/dump/read-dump.ts';
import { takeDataDirectory, UNFINISHED } from '../server/store/sqlite/data-directory.ts';
import { IDENTITY_FILES } from './serve/identity-files.ts';

/**
 * Makes the data of a server from a backup: looked through first, then files, then rows in one transaction, then
 * secrets. A mark stands in the directory until all of it is there; no server starts beside the mark.
 */
export async function runRestore(options: RestoreOptions): Promise<RestoreReport> {
  const { from, data, identity } = options;
  const place = await findBackup(from, options.at);
  options.onStep(`looking through ${place.name}`);
  const verified = await verifyBackup(from, place);
  requireSound(place, verified);
  const { manifest } = verified;
  requireEmpty(data);
  const lock = takeDataDirectory(data, options.database === undefined ? undefined : () => 0);
  try {
    writeFileSync(join(data, UNFINISHED), `${place.name}\n`);
    options.onStep(`bringing ${manifest.counts.files} files`);
    await bringFiles(options, { list: join(place.path, manifest.files.file), manifest });
    options.onStep(`bringing ${manifest.counts.rows} rows`);
    const secrets = identity === 'same' ? manifest.identity : null;
    const hasSecrets = secrets !== null;
    const wish = { identity, lost: manifest.lost, hasSecrets };
    const loaded = await load(options, join(place.path, manifest.database.file), wish);
    if (secrets) await putIdentity(join(place.path, secrets.file), data);
    await sync(data);
    rmSync(join(data, UNFINISHED));
    await sync(data);
    return { name: place.name, identity, hasSecrets, ...manifest.counts, cancelled: loaded.cancelled };
  } catch (error) {
    for (const name of readdirSync(data)) rmSync(join(data, name), { recursive: true });
    throw error;
  } finally {
    lock.release();
  }
}

function requireEmpty(data: string): void {
  if (!existsSync(data) || readdirSync(data).length === 0) return;
  const what = existsSync(join(data, UNFINISHED)) ? 'holds a restore that was broken off' : 'is not empty';
  throw new PilotageError(
    'already-exists',
    `${data} ${what}: nothing was changed. Give a directory that is new, or remove this one first`,
  );
}

/** Files that are written at a time. */
const LANES = 8;

async function bringFiles(
  options: RestoreOptions,
  { list, manifest }: { list: string; manifest: Manifest },
): Promise<void> {
  const blobs = await openBlobs(options.blobs ?? join(options.data, 'blobs'), {
    ...options.s3,
    spoolDirectory: join(options.data, 'incoming'),
  });
  const lost = new Set(manifest.lost);
  const bring = async ({ digest: name }: { digest: string }): Promise<void> => {
    if (lost.has(name)) return;
    const digest = parseDigest(name);
    const bytes = createReadStream(blobPath(options.from, digest));
    const received = await blobs.receive({ digest, id: randomUUID(), offset: 0, bytes });
    await received.place();
    await received.discard();
  };
  for await (const batch of batchesOf(list)) await inLanes(batch, LANES, bring);
}

async function load(options: RestoreOptions, file: string, wish: LoadWish): Promise<Loaded> {
  const events = readDump(createReadStream(file).pipe(createGunzip()));
  if (options.database === undefined) {
    const { loadSqlite } = await import('../server/store/sqlite/load-sqlite.ts');
    return loadSqlite(options.data, events, wish);
  }
  const { loadPostgres } = await import('../server/store/postgres/load-postgres.ts');
  return loadPostgres(options.database, events, wish);
}

async function putIdentity(file: string, data: string): Promise<void> {
  const { files } = JSON.parse(await readFile(file, 'utf8')) as ServerIdentity;
  await makeDirectories(data);
  for (const name of IDENTITY_FILES) {
    const text = files[name];
    if (text === undefined) continue;
    writeFileSync(join(data, name), text, { mode: 0o600, flag: 'wx' });
    await sync(join(data, name));
  }
}
