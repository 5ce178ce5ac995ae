import { onTestFinished } from 'vitest';
import { QUIET } from '../../src/ground/claimant/session.ts';
import { createAudit } from '../../src/server/access/audit.ts';
import type { Principal, Scope } from '../../src/server/access/principal.ts';
import { openBlobs } from '../../src/server/blobs/blobs.ts';
import { createLinks } from '../../src/server/pool/links.ts';
import { createNeighbourHooks } from '../../src/server/pool/neighbours.ts';
import type { Parts } from '../../src/server/pool/parts.ts';
import { DEFAULT_SETTINGS, type PoolSettings } from '../../src/server/pool/settings.ts';
import { createSignals } from '../../src/server/pool/signals.ts';
import { createTickets } from '../../src/server/pool/tickets.ts';
import type { Store } from '../../src/server/store/store.ts';
import { temporaryDirectory } from './temporary-directory.ts';

/** What the pool's actions work with, on a store that is open; ends with the test. */
export async function poolParts(store: Store, settings: Partial<PoolSettings> = {}): Promise<Parts> {
  const closing = new AbortController();
  onTestFinished(() => closing.abort());
  return {
    store,
    blobs: await openBlobs(temporaryDirectory()),
    signals: createSignals(store),
    tickets: createTickets(),
    links: createLinks('key', () => 'http://localhost'),
    audit: createAudit(store, (error) => {
      throw error;
    }),
    neighbours: createNeighbourHooks(),
    settings: { ...DEFAULT_SETTINGS, ...settings },
    version: 'test',
    dirty: () => undefined,
    closing: closing.signal,
    log: QUIET,
  };
}

export function principal(
  name: string,
  scopes: readonly Scope[],
  projects: readonly string[] | null = null,
): Principal {
  return { name, tokenId: 1, scopes, projects };
}
