import { createReadStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Digest } from '../../base/digest.ts';
import { PilotageError } from '../../base/errors.ts';
import { hashFile } from '../../content/hash-file.ts';
import { inLanes } from '../../content/in-lanes.ts';
import type { ImportReply, ImportStarted, Manifest } from '../../protocol/backup.ts';
import { workerCalls } from '../../protocol/worker-calls.ts';
import type { Client } from '../client.ts';
import type { FileStore } from '../file-store.ts';
import type { Patience } from '../patience.ts';
import { sendPiece } from '../send-piece.ts';
import { backupCalls } from './calls.ts';
import { DATABASE, MANIFEST } from './layout.ts';
import { parseManifest } from './manifest.ts';
import { type Archive, openArchive } from './open-archive.ts';

export interface ImportWish {
  readonly client: Client;
  readonly file: string;
  /** The project's new name. */
  readonly project: string;
  readonly quotaBytes?: number;
  readonly patience?: Patience;
  readonly onProgress: (done: { files: number }, total: number) => void;
}

const MANIFEST_BYTES = 256 * 1024 * 1024;
/** Rows are renumbered and written one after the other. */
const ROWS_SECONDS = 7200;

/** Brings an export in as a new project, all of it or nothing. */
export async function importProject(wish: ImportWish): Promise<ImportReply> {
  const { client, file, project, quotaBytes } = wish;
  const archive = await openArchive(file);
  const work = await mkdtemp(path.join(tmpdir(), 'pilotage-import-'));
  try {
    const manifest = await parseManifest(await archive.text(MANIFEST, MANIFEST_BYTES), file);
    const rows = await rowsOf(archive, { manifest, work, file });
    const body = { project, ...(quotaBytes === undefined ? {} : { quotaBytes }) };
    const started = await client.call(backupCalls.startImport, { body });
    try {
      await bringFiles(wish, { archive, started, work });
      return await client.call(backupCalls.importRows, {
        params: { id: started.id },
        query: { project },
        raw: createReadStream(rows),
        timeoutSeconds: ROWS_SECONDS,
      });
    } catch (error) {
      await client
        .call(backupCalls.endImport, { params: { id: started.id }, timeoutSeconds: 60 })
        .catch(() => undefined);
      throw error;
    }
  } finally {
    archive.close();
    await rm(work, { recursive: true, force: true });
  }
}

interface Opened {
  readonly manifest: Manifest;
  readonly work: string;
  readonly file: string;
}

/** The rows as they were exported; looked at before the server hears of them. */
async function rowsOf(archive: Archive, { manifest, work, file }: Opened): Promise<string> {
  if (manifest.pilotage !== 'project')
    throw new PilotageError('bad-request', `'${file}' is a backup of a server: 'pilotage restore' takes it`);
  const rows = path.join(work, DATABASE);
  await archive.save(DATABASE, rows, manifest.database.size);
  if ((await hashFile(rows)).digest === manifest.database.sha256) return rows;
  throw new PilotageError(
    'digest-mismatch',
    `'${file}' is damaged: the SHA-256 of its rows is another one than it says`,
  );
}

/** Files that travel side by side. */
const LANES = 4;
/** Digests asked about in one request. */
const ASK = 10_000;

interface Bringing {
  readonly archive: Archive;
  readonly started: ImportStarted;
  readonly work: string;
}

async function bringFiles(wish: ImportWish, { archive, started, work }: Bringing): Promise<void> {
  const store: FileStore = {
    client: wish.client,
    project: started.place,
    ...(wish.patience ? { patience: wish.patience } : {}),
  };
  const all = [...archive.blobs];
  for (let at = 0; at < all.length; at += ASK) await requireRoom(store, all, at);
  let files = 0;
  await inLanes(all, LANES, async ([digest, size]) => {
    const file = path.join(work, digest);
    await archive.save(`blobs/${digest}`, file);
    await sendPiece(store, { digest: digest as Digest, size, file }, () => {}).catch((error: unknown) => {
      throw error instanceof PilotageError && error.code === 'digest-mismatch'
        ? damaged(wish.file, digest, error)
        : error;
    });
    await rm(file);
    files += 1;
    wish.onProgress({ files }, all.length);
  });
}

/** What would be over the quota is refused before a byte is sent. */
async function requireRoom(store: FileStore, all: readonly (readonly [string, number])[], at: number): Promise<void> {
  const some = all.slice(at, at + ASK);
  const more = all.slice(at + ASK).reduce((sum, [, size]) => sum + size, 0);
  const reply = await store.client.call(workerCalls.missingBlobs, {
    params: { project: store.project },
    body: { digests: some.map(([digest]) => digest), sizes: some.map(([, size]) => size), more },
  });
  if (reply.fits === false)
    throw new PilotageError(
      'over-quota',
      'the files of this export are more than the quota that was given: nothing was brought in',
    );
}

function damaged(file: string, digest: string, cause: unknown): PilotageError {
  return new PilotageError(
    'digest-mismatch',
    `'${file}' is damaged: the bytes that it calls ${digest} are others; nothing was brought in`,
    { cause },
  );
}
