import type { LogChunk } from '../../../ground/protocol/exchange.ts';
import type { Parts } from '../../pool/parts.ts';
import type { LiveTask } from './live-task.ts';

type Stream = LogChunk['stream'];

interface Reading {
  /** Up to where it was taken, by stream. */
  readonly at: Record<Stream, number>;
  waiting: LogChunk[];
  isBusy: boolean;
  readAt: number;
  nextAt: number;
}

export interface LogReader {
  take(task: LiveTask, limit: { readonly bytes: number; readonly tailOnly: boolean }): LogChunk[];
  giveBack(task: LiveTask, chunk: LogChunk): void;
}

const FOLLOWED_MS = 250;
/** The end of the output of what nobody follows is told now and then. */
const TAIL_MS = 10_000;

/** The output of borrowed tasks as it grows here, read ahead so that it is at hand when the next exchange goes out. */
export function createLogReader(parts: Parts): LogReader {
  const readings = new WeakMap<LiveTask, Reading>();
  const readingOf = (task: LiveTask): Reading => {
    const known = readings.get(task);
    if (known) return known;
    // What ends soon is told with its end.
    const nextAt = performance.now() + TAIL_MS;
    const made = { at: { stdout: 0, stderr: 0 }, waiting: [], isBusy: false, readAt: 0, nextAt };
    readings.set(task, made);
    return made;
  };

  const readAhead = async (task: LiveTask, reading: Reading, isFollowed: boolean): Promise<void> => {
    const { local } = task;
    if (!local) return;
    if (isFollowed) {
      const session = await parts.store.followTask(local);
      if (session !== null) parts.signals.session(session);
    }
    const found = await parts.store.getLogs({ ...local, attempt: null });
    for (const { stream, start_offset: start, data } of found?.logs ?? []) {
      if (data === null || (stream !== 'stdout' && stream !== 'stderr')) continue;
      const bytes = Buffer.from(data, 'base64');
      const from = Math.max(Number(start), reading.at[stream]);
      const grown = bytes.subarray(from - Number(start));
      if (grown.length === 0) continue;
      reading.at[stream] = from + grown.length;
      const { task: name, attempt } = task.claim;
      reading.waiting.push({ task: name, attempt, stream, offset: from, data: grown.toString('base64') });
    }
  };

  return {
    take(task, { bytes, tailOnly }) {
      const reading = readingOf(task);
      const now = performance.now();
      if (!tailOnly) reading.nextAt = Math.min(reading.nextAt, reading.readAt + FOLLOWED_MS);
      if (!reading.isBusy && now >= reading.nextAt) {
        reading.readAt = now;
        reading.isBusy = true;
        reading.nextAt = now + (tailOnly ? TAIL_MS : FOLLOWED_MS);
        void readAhead(task, reading, !tailOnly)
          .catch((error: unknown) => parts.log.debug({ err: error }, 'output of a borrowed task was not read'))
          .finally(() => {
            reading.isBusy = false;
          });
      }
      const taken: LogChunk[] = [];
      for (let size = 0; reading.waiting.length > 0 && size < bytes; ) {
        const chunk = reading.waiting.shift() as LogChunk;
        size += chunk.data.length;
        taken.push(chunk);
      }
      return taken;
    },
    giveBack: (task, chunk) => readingOf(task).waiting.unshift(chunk),
  };
}
