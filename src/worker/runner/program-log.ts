import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import type { LogChunk, LogEnd } from '../../ground/protocol/exchange.ts';
import { INLINE_LOG_BYTES } from '../../ground/protocol/limits.ts';

/** One stream of a program's output, which the program writes to a file itself. */
export interface ProgramLog {
  /** What grew since the last time, at most `bytes` of it: the oldest, or with `tailOnly` the newest. */
  take(limit: { bytes: number; tailOnly: boolean }): { offset: number; data: string } | undefined;
  /** From this offset on it did not arrive. */
  returnFrom(offset: number): void;
  /** For the report: small output itself, large output by its digest. */
  finish(size: number, upload: (file: string) => Promise<{ digest: string; size: number }>): Promise<LogEnd>;
}

export function createProgramLog(file: string): ProgramLog {
  let taken = 0;
  return {
    take: ({ bytes, tailOnly }) => {
      const size = sizeOf(file);
      if (size <= taken) return undefined;
      const offset = tailOnly ? Math.max(taken, size - bytes) : taken;
      const data = readPiece(file, offset, Math.min(bytes, size - offset));
      if (data.length === 0) return undefined;
      taken = offset + data.length;
      return { offset, data: data.toString('base64') };
    },
    returnFrom: (offset) => {
      taken = Math.min(taken, offset);
    },
    finish: async (size, upload) => {
      if (size === 0) return { size };
      if (size > INLINE_LOG_BYTES) return upload(file);
      const data = await readFile(file);
      return { size: data.length, data: data.toString('base64') };
    },
  };
}

/** The size on disk, for when nobody could say it at the end. */
export async function logSize(file: string): Promise<number> {
  return stat(file).then(
    (stats) => stats.size,
    () => 0,
  );
}

export function takeChunks(
  logs: Readonly<Record<LogChunk['stream'], ProgramLog>>,
  of: { task: string; attempt: number },
  limit: { bytes: number; tailOnly: boolean },
): LogChunk[] {
  return (['stdout', 'stderr'] as const).flatMap((stream) => {
    const piece = logs[stream].take(limit);
    return piece ? [{ ...of, stream, ...piece }] : [];
  });
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

function readPiece(file: string, offset: number, length: number): Buffer {
  const handle = openSync(file, 'r');
  try {
    const buffer = Buffer.alloc(length);
    return buffer.subarray(0, readSync(handle, buffer, 0, length, offset));
  } finally {
    closeSync(handle);
  }
}
