import { createHash, randomUUID } from 'node:crypto';
import { open, readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { Readable } from 'node:stream';
import type { Digest } from '../base/digest.ts';
import { PilotageError } from '../base/errors.ts';
import { workerCalls } from '../protocol/worker-calls.ts';
import { type FileStore, STALL_SECONDS, signalOf } from './file-store.ts';
import { patiently } from './patience.ts';
import { type StallWatch, stallWatch } from './stall-watch.ts';

/** Something that can be sent: a file on disk, or bytes that were made here. */
export interface Piece {
  readonly digest: Digest;
  readonly size: number;
  readonly file?: string;
  readonly bytes?: Buffer;
}

/** Smaller files are read at once and begin anew when they break off. */
const WHOLE_BYTES = 1024 * 1024;
const READ_BYTES = 512 * 1024;
/** A server verifies what came and writes it to its disk before it answers: at least so fast. */
const VERIFY_BYTES_PER_SECOND = 10_000_000;

/** Brings a piece to the server. After a broken connection a large file goes on where the server's part of it ends. */
export async function sendPiece(store: FileStore, piece: Piece, onSent: (bytes: number) => void): Promise<void> {
  const { file } = piece;
  try {
    if (file === undefined || piece.size <= WHOLE_BYTES) await sendWhole(store, piece, onSent);
    else await sendLarge(store, { ...piece, file }, onSent);
  } catch (error) {
    throw isMismatch(error) && file !== undefined ? changed(file, error) : error;
  }
}

async function sendWhole(store: FileStore, piece: Piece, onSent: (bytes: number) => void): Promise<void> {
  const raw = piece.file === undefined ? (piece.bytes ?? Buffer.alloc(0)) : await readFile(piece.file);
  const params = { project: store.project, digest: piece.digest };
  const timeoutSeconds = STALL_SECONDS + piece.size / 100_000;
  const put = () => store.client.call(workerCalls.putBlob, { params, raw, timeoutSeconds, ...signalOf(store) });
  await patiently(put, store);
  onSent(piece.size);
}

interface LargeFile extends Piece {
  readonly file: string;
}

/** One upload: its name, what the server is known to have of it, and how often it was begun or gone on with. */
interface Course {
  readonly id: string;
  received: number;
  tries: number;
  /** Where it began: beyond 0 when an earlier command had sent a part. */
  began: number;
}

/** The same for each try to bring this file from here, also of a later command: it goes on where the earlier one was ended. */
function idOf({ file, digest }: LargeFile): string {
  const from = [hostname(), process.getuid?.() ?? 0, file, digest].join('\0');
  return createHash('sha256').update(from).digest('hex').slice(0, 32);
}

/** Bytes of several connections that do not fit together are sent once more, as a new upload. */
async function sendLarge(store: FileStore, file: LargeFile, onSent: (bytes: number) => void): Promise<void> {
  for (let id = idOf(file); ; id = randomUUID()) {
    const course: Course = { id, received: 0, tries: 0, began: 0 };
    try {
      return await sendInTries(store, file, { course, onSent });
    } catch (error) {
      if ((course.tries < 2 && course.began === 0) || !isMismatch(error)) throw error;
    }
  }
}

interface Sending {
  readonly course: Course;
  readonly onSent: (bytes: number) => void;
}

async function sendInTries(store: FileStore, file: LargeFile, sending: Sending): Promise<void> {
  const { course, onSent } = sending;
  const again = (error: unknown) => error instanceof PilotageError && error.code === 'wrong-state';
  const act = async () => {
    course.tries += 1;
    if (course.tries > 1 && (await isThere(store, file))) return;
    course.received = await receivedOf(store, file, course.id);
    if (course.tries === 1) course.began = course.received;
    onSent(course.received);
    await sendRest(store, file, sending);
  };
  await patiently(act, { ...store, again, progress: () => course.received });
  onSent(file.size);
}

/** It may be that only the answer was lost. */
async function isThere(store: FileStore, { digest, size }: Piece): Promise<boolean> {
  const params = { project: store.project };
  const body = { digests: [digest], sizes: [size] };
  return (await store.client.call(workerCalls.missingBlobs, { params, body, ...signalOf(store) })).missing.length === 0;
}

async function receivedOf(store: FileStore, { digest }: Piece, upload: string): Promise<number> {
  const params = { project: store.project, digest, upload };
  return (await store.client.call(workerCalls.uploadState, { params, ...signalOf(store) })).received;
}

async function sendRest(store: FileStore, file: LargeFile, { course, onSent }: Sending): Promise<void> {
  const watch = stallWatch(STALL_SECONDS, store.signal);
  const from = course.received;
  let fault: unknown;
  const bytes = readFrom(file, from, (at) => {
    watchOn(watch, file, at);
    onSent(at);
  });
  const raw = Readable.from(bytes, { objectMode: false, highWaterMark: READ_BYTES });
  raw.once('error', (error) => {
    fault = error;
  });
  try {
    await store.client.call(workerCalls.putBlob, {
      params: { project: store.project, digest: file.digest },
      query: { upload: course.id, offset: from },
      raw,
      rawIsGivenAway: true,
      headers: { 'content-length': String(file.size - from) },
      timeoutSeconds: 7 * 86_400,
      signal: watch.signal,
    });
  } catch (error) {
    throw fault ?? watch.explain(error);
  } finally {
    watch.end();
    raw.destroy();
  }
}

function watchOn(watch: StallWatch, { size }: Piece, at: number): void {
  if (at < size) watch.moved();
  else watch.allow(STALL_SECONDS + size / VERIFY_BYTES_PER_SECOND);
}

async function* readFrom(piece: LargeFile, start: number, onRead: (at: number) => void): AsyncGenerator<Buffer> {
  const file = await open(piece.file, 'r');
  try {
    for (let at = start; at < piece.size; ) {
      const room = Buffer.allocUnsafeSlow(Math.min(READ_BYTES, piece.size - at));
      const { bytesRead } = await file.read(room, 0, room.length, at);
      if (bytesRead === 0) throw changed(piece.file, undefined);
      at += bytesRead;
      yield bytesRead === room.length ? room : Buffer.from(room.subarray(0, bytesRead));
      onRead(at);
    }
  } finally {
    await file.close();
  }
}

function isMismatch(error: unknown): boolean {
  return error instanceof PilotageError && error.code === 'digest-mismatch';
}

/** A file that is no longer what was announced. */
export function changed(file: string, cause: unknown): PilotageError {
  return new PilotageError(
    'digest-mismatch',
    `'${file}' changed while it was uploaded: try again when nothing writes to it`,
    { cause },
  );
}
