import { createHash, randomUUID } from 'node:crypto';
import { chmod, type FileHandle, open, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import type { Readable } from 'node:stream';
import type { Digest } from '../base/digest.ts';
import { PilotageError } from '../base/errors.ts';
import type { Hashed } from '../content/hash-file.ts';
import { makeDirectories } from '../content/make-directories.ts';
import { type FilePermissions, fileMode } from '../content/permissions.ts';
import { saveStream } from '../content/save-stream.ts';
import { workerCalls } from '../protocol/worker-calls.ts';
import { type FileStore, type OpenBlob, STALL_SECONDS } from './file-store.ts';
import { patiently } from './patience.ts';
import { placeTree, readTree } from './place-tree.ts';
import { stallWatch } from './stall-watch.ts';
import { ServerUnreachable } from './transport.ts';

/** Told how many bytes of the file have come. */
export type OnReceived = (bytes: number) => void;

/**
 * Downloads a blob to `destination`, which appears whole or not at all. After a broken connection it goes on where it
 * broke off. Rejects with `digest-mismatch` when other bytes came than were asked for.
 */
export async function downloadFile(
  store: FileStore,
  wanted: { readonly digest: string; readonly onReceived?: OnReceived } & FilePermissions,
  destination: string,
): Promise<Hashed> {
  // A name of its own: one made from the destination's could be too long.
  const part = path.join(path.dirname(destination), `.${randomUUID()}.part`);
  try {
    const hashed = await receive(store, wanted, part);
    if (hashed.digest !== wanted.digest) throw mismatch(wanted.digest, hashed);
    await chmod(part, fileMode(wanted));
    await rename(part, destination);
    return hashed;
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  }
}

/** Downloads a directory into `destination`, which may exist: what it holds is kept unless the tree has it too. */
export async function downloadTree(
  store: FileStore,
  { digest, permissions }: { readonly digest: string; readonly permissions?: string | undefined },
  destination: string,
): Promise<void> {
  const list = path.join(path.dirname(destination), `.${randomUUID()}.tree`);
  await makeDirectories(path.dirname(destination));
  try {
    await downloadFile(store, { digest }, list);
    const { entries } = await readTree(list);
    await placeTree(
      { entries, permissions },
      destination,
      async (wanted, file) => void (await downloadFile(store, wanted, file)),
    );
  } finally {
    await rm(list, { force: true });
  }
}

async function receive(
  store: FileStore,
  { digest, onReceived }: { readonly digest: string; readonly onReceived?: OnReceived },
  part: string,
): Promise<Hashed> {
  const sum = createHash('sha256');
  const file = await open(part, 'wx');
  let size = 0;
  const onBytes = (piece: Buffer): void => {
    sum.update(piece);
    size += piece.length;
    onReceived?.(size);
  };
  try {
    await patiently(() => receiveRest(store, { digest, file, position: size, onBytes }), {
      ...store,
      progress: () => size,
    });
    if (store.isDurable) await file.sync();
  } finally {
    await file.close();
  }
  return { digest: sum.digest('hex') as Digest, size };
}

interface Rest {
  readonly digest: string;
  readonly file: FileHandle;
  readonly position: number;
  readonly onBytes: (piece: Buffer) => void;
}

async function receiveRest(store: FileStore, { digest, file, position, onBytes }: Rest): Promise<void> {
  const watch = stallWatch(STALL_SECONDS, store.signal);
  let body: Readable | undefined;
  try {
    const open = store.open ?? ((wanted, how) => openBlob(store, wanted, how));
    body = await open(digest, {
      ...(position === 0 ? {} : { headers: { range: `bytes=${position}-` } }),
      signal: watch.signal,
    });
    const onPiece = (piece: Buffer): void => {
      watch.moved();
      onBytes(piece);
    };
    await saveStream(body, file, { position, onBytes: onPiece });
  } catch (error) {
    throw watch.explain(isBroken(body) && !store.signal?.aborted ? new ServerUnreachable('the server', error) : error);
  } finally {
    watch.end();
    body?.destroy();
  }
}

function openBlob({ client, project }: FileStore, digest: string, how: OpenBlob): Promise<Readable> {
  return client.stream(workerCalls.getBlob, { params: { project, digest }, ...how });
}

/** Did the connection break, in contrast to our own disk? */
function isBroken(body: Readable | undefined): boolean {
  return body !== undefined && body.errored !== null;
}

function mismatch(digest: string, got: Hashed): PilotageError {
  return new PilotageError(
    'digest-mismatch',
    `the server sent ${got.size} bytes with the digest ${got.digest} in place of ${digest}: its store may be damaged`,
  );
}
