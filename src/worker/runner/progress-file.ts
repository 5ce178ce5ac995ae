import { closeSync, openSync, readSync, statSync } from 'node:fs';
import type { Progress } from '../../ground/protocol/task.ts';

/** Reads the last whole line that a program wrote into its progress file. The same object as long as that stays. */
export interface ProgressFile {
  read(): Progress | undefined;
}

const TAIL_BYTES = 4096;

export function createProgressFile(file: string): ProgressFile {
  let size = 0;
  let last: Progress | undefined;
  return {
    read: () => {
      const now = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
      if (now === size) return last;
      size = now;
      last = parseProgress(readTail(file, now)) ?? last;
      return last;
    },
  };
}

/** The last line that can be used; a program's rubbish is not an error of ours. */
export function parseProgress(text: string): Progress | undefined {
  for (const line of text.split('\n').reverse()) {
    const progress = parseLine(line);
    if (progress) return progress;
  }
  return undefined;
}

function parseLine(line: string): Progress | undefined {
  try {
    const { fraction, message } = JSON.parse(line) as Record<string, unknown>;
    const usable = typeof fraction === 'number' && fraction >= 0 && fraction <= 1;
    const progress = {
      ...(usable ? { fraction } : {}),
      ...(typeof message === 'string' ? { message: message.slice(0, 1000) } : {}),
    };
    return Object.keys(progress).length > 0 ? progress : undefined;
  } catch {
    return undefined;
  }
}

function readTail(file: string, size: number): string {
  const handle = openSync(file, 'r');
  try {
    const buffer = Buffer.alloc(Math.min(size, TAIL_BYTES));
    return buffer.toString('utf8', 0, readSync(handle, buffer, 0, buffer.length, Math.max(0, size - TAIL_BYTES)));
  } finally {
    closeSync(handle);
  }
}
