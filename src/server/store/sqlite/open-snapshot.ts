import { Worker } from 'node:worker_threads';
import { messageOf, PilotageError } from '../../../ground/base/errors.ts';
import type { DumpWish, Snapshot } from '../dump/snapshot.ts';

type Said = 'ready' | 'end' | Uint8Array;

/** A snapshot in a thread of its own. The file's log cannot be cut short while it is open: it is to be closed soon. */
export async function openSqliteSnapshot(file: string, wish: DumpWish): Promise<Snapshot> {
  const own = import.meta.url.endsWith('.ts') ? './snapshot-thread.ts' : './snapshot-thread.js';
  const worker = new Worker(new URL(own, import.meta.url), { workerData: { file, wish } });
  let waiting: PromiseWithResolvers<Said> | undefined;
  let failed: Error | undefined;
  const hear = (): Promise<Said> => {
    if (failed) return Promise.reject(failed);
    waiting = Promise.withResolvers<Said>();
    return waiting.promise;
  };
  const fail = (error: Error): void => {
    failed ??= error;
    waiting?.reject(failed);
  };
  worker.on('message', (said: Said) => waiting?.resolve(said));
  worker.on('error', (error) => fail(unreadable(error)));
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  void ended.then(() => fail(unreadable(new Error('it was closed'))));
  await hear();
  return {
    async *pieces() {
      for (;;) {
        const said = hear();
        worker.postMessage('next');
        const piece = await said;
        if (!(piece instanceof Uint8Array)) return;
        yield Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
      }
    },
    close: () => {
      worker.postMessage('close');
      return ended;
    },
  };
}

function unreadable(error: unknown): PilotageError {
  return new PilotageError(
    'storage-failed',
    `the database could not be read for a copy (${messageOf(error)}): nothing was changed; try again`,
    { cause: error },
  );
}
