import type { Readable } from 'node:stream';
import type { Client } from '../../ground/client/client.ts';
import { ServerUnreachable } from '../../ground/client/transport.ts';
import { workerCalls } from '../../ground/protocol/worker-calls.ts';
import type { OwnArriving } from './cache/arriving.ts';

/** A transfer that moves no byte for so long has failed. */
const STALL_SECONDS = 60;

export interface BlobServer {
  readonly client: Client;
  readonly project: string;
}

/**
 * Fetches a blob from the server, from where it is to its end. A connection that breaks off is made again as long as it
 * brings something; rejects with `ServerUnreachable` when nothing comes, and then what came is kept.
 */
export async function downloadFromServer(
  arriving: OwnArriving,
  { client, project }: BlobServer,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    const start = arriving.received;
    if (arriving.size !== undefined && start >= arriving.size) return;
    const body = await client.stream(workerCalls.getBlob, {
      params: { project, digest: arriving.digest },
      ...(start > 0 ? { headers: { range: `bytes=${start}-` } } : {}),
      signal,
    });
    try {
      await drain(body, arriving, signal);
      return;
    } catch (error) {
      const broken = error instanceof ServerUnreachable;
      if (!broken || arriving.received === start) throw error;
    }
  }
}

async function drain(body: Readable, arriving: OwnArriving, signal: AbortSignal): Promise<void> {
  const stop = (): void => void body.destroy();
  signal.addEventListener('abort', stop, { once: true });
  let stalled = stallTimer(body);
  const chunks = body[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await chunks.next().catch((error) => {
        throw new ServerUnreachable('the server', error);
      });
      if (next.done) break;
      clearTimeout(stalled);
      await arriving.append(next.value as Buffer);
      stalled = stallTimer(body);
    }
    signal.throwIfAborted();
    if (arriving.size !== undefined && arriving.received < arriving.size)
      throw new ServerUnreachable('the server', new Error('its answer broke off'));
  } finally {
    clearTimeout(stalled);
    signal.removeEventListener('abort', stop);
    body.destroy();
  }
}

function stallTimer(body: Readable): NodeJS.Timeout {
  return setTimeout(() => body.destroy(new Error(`no byte came for ${STALL_SECONDS} s`)), STALL_SECONDS * 1000);
}
