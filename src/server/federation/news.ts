import { messageOf } from '../../ground/base/errors.ts';
import type { Client } from '../../ground/client/client.ts';
import type { Demand, PeerNews, Terms } from '../../ground/protocol/peer.ts';
import { linkRoutes } from '../../ground/protocol/peer-routes.ts';
import type { Parts } from '../pool/parts.ts';
import { QUEUED } from '../pool/signals.ts';
import type { DemandRow } from '../store/verbs/supply.ts';
import type { ProjectHome } from './delegation/borrow.ts';

/** A neighbour with a link, and what it told last. */
export interface Listener {
  readonly id: string;
  readonly client: Client;
  readonly terms: Terms;
  readonly heard: PeerNews | undefined;
}

export interface NewsOptions {
  readonly parts: Parts;
  readonly self: string;
  readonly listeners: () => readonly Listener[];
  /** All but the demand and the terms. */
  readonly base: () => Omit<PeerNews, 'demand' | 'terms'>;
}

export interface News {
  /** Something of it changed. */
  changed(): void;
  /** A new link: whoever is there knows nothing yet. */
  forget(peer: string): void;
  stop(): Promise<void>;
}

/** Own workers come first: what they take within is not told to others. */
const SETTLE_MS = 40;
const LOOK_MS = 1000;
const MOST_HOPS = 8;
const MOST = 200;

/** Tells each neighbour what it may know, whenever that changed: what we lend, who is who, and what is to be done here. */
export function startNews({ parts, self, listeners, base }: NewsOptions): News {
  const told = new Map<string, string>();
  const stopped = new AbortController();
  let woken = Promise.withResolvers<void>();
  let isQueued = false;

  const tell = async (listener: Listener, rows: readonly DemandRow[], again: boolean): Promise<void> => {
    const demand = demandFor(listener, rows, listeners(), self);
    const news: PeerNews = { ...base(), terms: withoutSend(listener.terms), demand };
    const text = JSON.stringify(news);
    if (told.get(listener.id) === text && !(again && demand.length > 0)) return;
    told.set(listener.id, text);
    try {
      await listener.client.call(linkRoutes.news, { body: news, timeoutSeconds: 5 });
    } catch (error) {
      told.delete(listener.id);
      parts.log.debug({ peer: listener.id.slice(0, 12), error: messageOf(error) }, 'a neighbour was not told the news');
    }
  };

  const run = async (): Promise<void> => {
    while (!stopped.signal.aborted) {
      woken = Promise.withResolvers<void>();
      const noted = parts.signals.wait([QUEUED], LOOK_MS, stopped.signal);
      const all = listeners();
      const again = isQueued;
      isQueued = false;
      if (all.length > 0) {
        const rows = await parts.store.findDemand().catch(() => []);
        // Whoever does not listen keeps no other waiting.
        for (const listener of all) void tell(listener, rows, again);
      }
      const cause = await Promise.race([noted, woken.promise.then(() => 'changed' as const)]);
      isQueued ||= cause === 'note';
      if (cause !== 'time') await parts.signals.wait([], SETTLE_MS, stopped.signal);
    }
  };
  const running = run();
  return {
    changed: () => woken.resolve(),
    forget(peer) {
      told.delete(peer);
      woken.resolve();
    },
    async stop() {
      stopped.abort();
      woken.resolve();
      await running;
    },
  };
}

/** What a neighbour may have: of ours what may go there, and what others told us of, unless it came through there. */
function demandFor(to: Listener, rows: readonly DemandRow[], all: readonly Listener[], self: string): Demand[] {
  const here = rows.flatMap((row): Demand[] => {
    const home = row.home === null ? undefined : (JSON.parse(row.home) as ProjectHome);
    if (!home && to.terms.send && !to.terms.send.includes(row.project)) return [];
    return [{ shape: row.key, project: row.project, path: home ? [...home.path, self] : [self] }];
  });
  const there = all
    .filter(({ id }) => id !== to.id)
    .flatMap(({ heard }) => (heard?.demand ?? []).map((one) => ({ ...one, path: [...one.path, self] })));
  const known = new Set<string>();
  return [...here, ...there]
    .filter(({ shape, path }) => shape.startsWith('["command"') && !path.includes(to.id) && path.length <= MOST_HOPS)
    .filter(({ path }) => new Set(path).size === path.length)
    .filter((one) => {
      const key = `${one.shape} ${one.path.join()} ${one.project}`;
      return !known.has(key) && known.add(key);
    })
    .slice(0, MOST);
}

/** What of ours may go there is our own business. */
function withoutSend({ send: _send, ...terms }: Terms): Terms {
  return terms;
}
