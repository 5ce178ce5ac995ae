import { Readable } from 'node:stream';
import { PilotageError } from '../../ground/base/errors.ts';
import type { Snapshot } from '../store/dump/snapshot.ts';
import type { CopySettings } from './settings.ts';

/**
 * A snapshot as a stream that gives up on a reader who does not read: stopped, hanging, or gone without a word. The
 * snapshot is closed with the stream, however that ends.
 */
export function readSnapshot(snapshot: Snapshot, limits: Pick<CopySettings, 'stallMs' | 'longestMs'>): Readable {
  const begun = performance.now();
  let timer: NodeJS.Timeout | undefined;
  async function* watched(): AsyncGenerator<Buffer> {
    for await (const piece of snapshot.pieces()) {
      if (performance.now() - begun > limits.longestMs) throw tooLong(limits.longestMs);
      timer = setTimeout(() => stream.destroy(stalled(limits.stallMs)), limits.stallMs);
      yield piece;
      clearTimeout(timer);
    }
  }
  const stream = Readable.from(watched(), { objectMode: false });
  stream.once('close', () => {
    clearTimeout(timer);
    void snapshot.close().catch(() => undefined);
  });
  return stream;
}

function stalled(ms: number): PilotageError {
  return new PilotageError('timed-out', `nobody read on for ${ms / 1000} s: the copy of the database was ended`);
}

function tooLong(ms: number): PilotageError {
  return new PilotageError('timed-out', `the copy of the database took more than ${ms / 1000} s: it was ended`);
}
