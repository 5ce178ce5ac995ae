import type { FileHandle } from 'node:fs/promises';
import { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { giveBack } from './give-back.ts';

export interface Saving {
  /** Where in the file the first byte goes. */
  readonly position: number;
  /** Given each piece as it comes, in order. */
  readonly onBytes?: (piece: Buffer) => void;
  /** Told how far the file is written. Everything before has been written too. */
  readonly onWritten?: (end: number) => void;
}

/** What is collected before it is written: a call for each piece that a socket gives would cost more than the writing. */
const BATCH_BYTES = 512 * 1024;

/**
 * Writes a stream into a file, reading on while it writes, so that memory stays flat. When the stream breaks off, what
 * came before is written all the same, and then the promise rejects. The stream is never destroyed here: when the disk
 * fails, an answer may still go back. Resolves with the position after the last byte.
 */
export async function saveStream(bytes: Readable, file: FileHandle, saving: Saving): Promise<number> {
  const { onBytes, onWritten } = saving;
  // Its pieces belong to nobody else.
  const isSocket = bytes instanceof IncomingMessage;
  let pieces: Buffer[] = [];
  let collected = 0;
  let end = saving.position;
  let writing: Promise<void> = Promise.resolve();
  const flush = async (): Promise<void> => {
    const batch = pieces;
    const from = end;
    end += collected;
    pieces = [];
    collected = 0;
    await writing;
    const upTo = end;
    writing = writeAll(file, batch, from).then(() => {
      if (isSocket) giveBack(batch);
      onWritten?.(upTo);
    });
    // Its failure is met at the next flush, not before.
    writing.catch(() => {});
  };
  try {
    for await (const piece of bytes.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      onBytes?.(piece);
      pieces.push(piece);
      collected += piece.length;
      if (collected >= BATCH_BYTES) await flush();
    }
  } finally {
    await flush();
    await writing;
  }
  return end;
}

async function writeAll(file: FileHandle, pieces: Buffer[], position: number): Promise<void> {
  if (pieces.length === 0) return;
  const { bytesWritten } = await file.writev(pieces, position);
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  if (bytesWritten === length) return;
  const rest = Buffer.concat(pieces).subarray(bytesWritten);
  for (let at = 0; at < rest.length; ) {
    at += (await file.write(rest, at, rest.length - at, position + bytesWritten + at)).bytesWritten;
  }
}
