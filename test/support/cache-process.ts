/** A process that uses a node's cache, for tests that run several or kill one: one JSON argument says what it does. */
import path from 'node:path';
import { createClient } from '../../src/ground/client/client.ts';
import { httpTransport } from '../../src/ground/client/http-transport.ts';
import { type NodeCacheOptions, openNodeCache } from '../../src/worker/staging/cache/node-cache.ts';
import { downloadFromServer } from '../../src/worker/staging/fetch-blob.ts';

export interface CacheOrder extends Pick<NodeCacheOptions, 'copiesBelow' | 'mayLink'> {
  readonly url: string;
  readonly cache: string;
  /** Files are put here, named by their digests. */
  readonly sandbox: string;
  readonly digests: readonly string[];
  readonly maxBytes?: number;
  /** It kills itself there. */
  readonly killAt?: string;
  /** It stays, with what it needs held. */
  readonly stay?: boolean;
}

const order = JSON.parse(process.argv[2] ?? '{}') as CacheOrder;
const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const client = createClient(httpTransport({ url: order.url }), () => 'token');
const cache = openNodeCache({
  ...order,
  directory: order.cache,
  maxBytes: order.maxBytes ?? 1e12,
  log: silent,
  step: (step) => {
    if (step === order.killAt) process.kill(process.pid, 'SIGKILL');
  },
});
const { signal } = new AbortController();
const missing = await cache.hold('test', order.digests);
const fetch = (...[arriving, until]: Parameters<Parameters<typeof cache.ensure>[1]>) =>
  downloadFromServer(arriving, { client, project: 'default' }, until);
await Promise.all(missing.map((digest) => cache.ensure(digest, fetch, signal)));
for (const digest of order.digests) await cache.place({ digest }, path.join(order.sandbox, digest), { fetch, signal });
process.stdout.write('placed\n');
if (!order.stay) {
  cache.close();
  client.close();
} else setInterval(() => {}, 1000);
