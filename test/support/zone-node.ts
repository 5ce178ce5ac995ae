import path from 'node:path';
import { onTestFinished } from 'vitest';
import { createClient } from '../../src/ground/client/client.ts';
import { httpTransport } from '../../src/ground/client/http-transport.ts';
import { PROTOCOL_VERSION } from '../../src/ground/protocol/limits.ts';
import { workerCalls } from '../../src/ground/protocol/worker-calls.ts';
import type { SourceReply } from '../../src/ground/protocol/zone.ts';
import { openNodeCache } from '../../src/worker/staging/cache/node-cache.ts';
import { fetchInZone } from '../../src/worker/staging/zone/fetch-in-zone.ts';
import type { PeerPatience } from '../../src/worker/staging/zone/peer-download.ts';
import { shareInZone } from '../../src/worker/staging/zone/zone-sharing.ts';
import { memoryLog } from './memory-log.ts';
import { temporaryDirectory } from './temporary-directory.ts';
import type { TinyPool } from './tiny-pool.ts';

/** What a worker of a zone has for its files, without the worker: a cache, a share server, a session. */
export async function startZoneNode(
  pool: TinyPool,
  options: { patience?: Partial<PeerPatience>; maxBytes?: number } = {},
) {
  const directory = temporaryDirectory();
  const log = memoryLog();
  const client = createClient(httpTransport({ url: pool.url }), () => 'token');
  const cache = openNodeCache({ directory, maxBytes: options.maxBytes ?? 1e12, log, copiesBelow: 1e6 });
  const zone = await shareInZone({ client, cache, log, serverUrl: pool.url });
  const { session, secret, now } = await client.call(workerCalls.register, {
    body: {
      protocol: PROTOCOL_VERSION,
      version: 'test',
      name: 'node',
      host: 'node',
      pid: 1,
      zone: 'lab',
      total: { cpus: 1, memory: 1, gpus: 0, named: {} },
      labels: {},
      kinds: ['command'],
      remainingSeconds: null,
      share: zone.addresses() ?? [],
    },
  });
  const ahead = now - performance.now();
  zone.welcome({ session, headers: { 'x-pilotage-session': secret }, serverNow: () => performance.now() + ahead });
  const patience = {
    connectMs: 500,
    stallMs: 500,
    passingStallMs: 2000,
    slowBytes: 100_000,
    slowMs: 1000,
    ...options.patience,
  };
  const close = async (): Promise<void> => {
    await zone.close();
    cache.close();
    client.close();
  };
  onTestFinished(close);
  const [address = ''] = zone.addresses() ?? [];
  return {
    session,
    cache,
    log,
    address,
    close,
    blob: (digest: string) => path.join(directory, 'blobs', digest),
    /** Brings a blob here as an attempt would. */
    get: (digest: string, signal: AbortSignal = new AbortController().signal) =>
      cache.ensure(
        digest,
        (arriving, until) =>
          fetchInZone(arriving, { client, project: 'default', holdings: zone.holdings, patience }, until),
        signal,
      ),
    /** Itself, as the server would name it to others. */
    asPeer: (digest: string, complete = true): NonNullable<SourceReply['peer']> => ({
      holder: session,
      complete,
      addresses: [address],
      ticket: pool.zone.ticket(digest, session),
    }),
    ask: (digest: string, ticket: string, headers: Record<string, string> = {}) =>
      fetch(`${address}/blobs/${digest}`, { headers: { authorization: `Ticket ${ticket}`, ...headers } }),
  };
}
