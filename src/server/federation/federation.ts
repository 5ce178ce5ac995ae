/**
 * Neighbours: other servers with which trust was exchanged. This room keeps who they are (`trust.ts`), the links to them
 * (`links.ts`), what is known of the network (`network-map.ts`), and has their workers and ours help each other
 * (`delegation/`). All of it stands on the pool: a neighbour claims and reports as a worker does.
 */
import type { IncomingMessage } from 'node:http';
import http2 from 'node:http2';
import type { Duplex } from 'node:stream';
import { messageOf, PilotageError } from '../../ground/base/errors.ts';
import { type Client, createClient } from '../../ground/client/client.ts';
import type { PeerNews, Place, Terms } from '../../ground/protocol/peer.ts';
import { linkRoutes } from '../../ground/protocol/peer-routes.ts';
import type { Principal } from '../access/principal.ts';
import { isShapeKey } from '../core/shape.ts';
import type { Ask, KeptCheckpoint } from '../pool/neighbours.ts';
import type { Parts } from '../pool/parts.ts';
import type { PeerRow } from '../store/verbs/peers.ts';
import { startAllocator } from './delegation/allocator.ts';
import type { ProjectHome } from './delegation/borrow.ts';
import { type Borrower, startBorrower } from './delegation/borrower.ts';
import { createCheckpointRelay } from './delegation/checkpoint-relay.ts';
import { createFetcher } from './delegation/files.ts';
import type { Identity } from './identity.ts';
import { createLinks, type Links } from './links.ts';
import { createPrincipals } from './neighbour-principal.ts';
import { createNetworkMap, type NetworkMap } from './network-map.ts';
import { type Listener, startNews } from './news.ts';

export interface FederationOptions {
  readonly parts: Parts;
  readonly identity: Identity;
  readonly serverId: string;
  /** What others call this server. */
  readonly name: string;
  /** Where others may dial it, known once it listens. */
  readonly places: () => readonly Place[];
  /** Answers what comes over a link. */
  readonly answer: (request: http2.Http2ServerRequest, response: http2.Http2ServerResponse) => void;
}

/** A neighbour as it is known now. */
interface Neighbour {
  row: PeerRow;
  heard: PeerNews | undefined;
  roundTrip: number;
  readonly client: Client;
  borrower: Promise<Borrower> | undefined;
  ready: Borrower | undefined;
}

export interface Federation {
  readonly self: { readonly id: string; readonly name: string; places(): readonly Place[] };
  readonly links: Links;
  readonly map: NetworkMap;
  /** Another server of this database keeps the links. */
  isLeader(): boolean;
  /** Who asks over a link; undefined: the request came by another way. Rejects when the trust is over. */
  principalOf(raw: IncomingMessage): Promise<Principal> | undefined;
  accept(socket: Duplex): void;
  /** Every neighbour has a link, and so knows where this server is. True where there are none. */
  isKnownToAll(): boolean;
  /** The table of neighbours changed, here or by another server of this database. */
  changed(): Promise<void>;
  /** What a neighbour told. */
  hear(peer: string, news: PeerNews): Promise<void>;
  /** The trust is over, on our side or theirs: nothing of one is left at the other. */
  part(row: PeerRow, by: 'us' | 'them'): Promise<void>;
  /** A neighbour said that it is none any more. */
  partFrom(peer: string): Promise<void>;
  clientOf(peer: string): Client;
  heard(peer: string): PeerNews | undefined;
  stop(): Promise<void>;
}

/** The note by which servers of one database tell each other that neighbours changed. */
const PEERS = 'p';
const LEAD_MS = 3000;
const LEASE_MS = 10_000;

export async function openFederation(options: FederationOptions): Promise<Federation> {
  const { parts, identity, serverId, name } = options;
  const { store, log } = parts;
  const map = createNetworkMap(identity.id, Date.now);
  const neighbours = new Map<string, Neighbour>();
  const asks = new Set<Ask>();
  const closing = new AbortController();
  let leads = false;
  let ledAt = 0;
  let all: PeerRow[] = [];

  const places = (): Place[] => [...options.places()];
  const links = createLinks({
    identity,
    store,
    log,
    answer: options.answer,
    onLink: (peer, isUp) => void onLink(peer, isUp).catch(failed('a link was not looked after')),
    onVerdict: async (row, verdict) => {
      if (row.state === 'ending' && verdict !== 'welcome') await store.forgetPeer({ id: row.id });
      if (row.state === 'sent' && verdict === 'welcome') await store.acceptTrust({ id: row.id });
      if (row.state === 'trusted' && (verdict === 'unknown' || verdict === 'revoked')) await part(row, 'them');
      if (verdict !== 'not-yet' && row.state !== 'trusted') await changedHere();
    },
  });
  const failed = (what: string) => (error: unknown) => {
    if (!closing.signal.aborted) log.error({ err: error }, `${what}: ${messageOf(error)}`);
  };

  const listeners = (): Listener[] =>
    [...neighbours.values()]
      .filter(({ row }) => row.state === 'trusted' && links.find(row.id))
      .map(({ row, client, heard }) => ({ id: row.id, client, heard, terms: JSON.parse(row.terms) as Terms }));
  const tellSelf = (): void => {
    const connected = listeners().map(({ id }) => id);
    if (map.tell({ name, places: places(), neighbours: connected })) news.changed();
  };
  const news = startNews({
    parts,
    self: identity.id,
    listeners,
    base: () => ({ version: parts.version, name, places: places(), map: map.all() }),
  });
  const allocator = startAllocator({
    parts,
    isLeader: () => leads,
    asks: () => [...asks],
    lenders: () =>
      byPriority(neighbours.values()).flatMap(({ row, heard, ready, roundTrip }) =>
        row.state === 'trusted' && ready && heard && links.find(row.id)
          ? [{ id: row.id, demand: heard.demand, terms: JSON.parse(row.terms) as Terms, borrower: ready, roundTrip }]
          : [],
      ),
  });

  // Who is there

  const load = async (): Promise<void> => {
    all = await store.listPeers();
    principals.forget();
    const ids = new Set(all.map(({ id }) => id));
    for (const row of all) {
      const known = neighbours.get(row.id);
      if (known) known.row = row;
      else neighbours.set(row.id, newNeighbour(row));
    }
    for (const [id, one] of neighbours) {
      if (ids.has(id) && (all.find((row) => row.id === id)?.state ?? '') === 'trusted') continue;
      await endBorrower(one);
      if (!ids.has(id)) neighbours.delete(id);
    }
    links.want(all.filter(({ state }) => state === 'trusted' || state === 'sent' || state === 'ending'));
    if (leads) await startBorrowers();
    tellSelf();
    news.changed();
    allocator.wake();
  };
  const newNeighbour = (row: PeerRow): Neighbour => ({
    row,
    heard: undefined,
    roundTrip: 0,
    client: createClient(links.transport(row.id), () => undefined),
    borrower: undefined,
    ready: undefined,
  });

  /** One for each neighbour, whether there is a link or not: what is here of it is looked after in any case. */
  const startBorrowers = async (): Promise<void> => {
    for (const one of neighbours.values()) {
      if (one.row.state !== 'trusted' || one.borrower) continue;
      const { client, row } = one;
      one.borrower = startBorrower({
        parts,
        identity,
        client,
        peer: () => one.row,
        name: `@${name}`,
        isLeader: () => leads && performance.now() - ledAt < LEASE_MS,
        onChange: () => allocator.wake(),
      });
      await one.borrower.then(
        (borrower) => {
          one.ready = borrower;
        },
        (error: unknown) => {
          one.borrower = undefined;
          failed(`nothing can be borrowed from ${row.name}`)(error);
        },
      );
    }
  };
  const endBorrower = async (one: Neighbour): Promise<void> => {
    const ending = one.borrower;
    one.ready = undefined;
    one.heard = undefined;
    await (await ending)?.stop();
    // Only then another one may look after what is here.
    if (one.borrower === ending) one.borrower = undefined;
  };

  const onLink = async (peer: string, isUp: boolean): Promise<void> => {
    const one = neighbours.get(peer);
    if (isUp && one?.row.state === 'ending') return sayFarewell(one);
    if (!isUp && one) {
      one.heard = undefined;
      if (!closing.signal.aborted) await store.notePeerContact({ id: peer, error: null });
    }
    news.forget(peer);
    tellSelf();
    if (isUp && one)
      one.roundTrip =
        (await links
          .find(peer)
          ?.ping()
          .catch(() => 0)) ?? 0;
    allocator.wake(peer);
  };
  const sayFarewell = async ({ row, client }: Neighbour): Promise<void> => {
    await client.call(linkRoutes.farewell, { body: {}, timeoutSeconds: 10 });
    await store.forgetPeer({ id: row.id });
    links.find(row.id)?.close();
    await changedHere();
  };

  const part = async (row: PeerRow, by: 'us' | 'them'): Promise<void> => {
    const was = await store.revokePeer({ id: row.id, as: by === 'us' ? 'ending' : 'revoked' });
    if (!was) return;
    // From here on it gets nothing more, also with what it asks just now.
    all = await store.listPeers();
    principals.forget();
    const one = neighbours.get(row.id);
    if (one) await endBorrower(one);
    const sessions = await store.endBorrowed({ peerId: row.id });
    await store.alertWorkers({ sessions });
    for (const session of sessions) parts.signals.session(session);
    const back = await store.dropPeerSessions({ peerId: row.id });
    parts.dirty();
    if (back > 0) parts.signals.queued();
    // A request that was never answered binds nobody.
    if (by === 'us' && was.state !== 'trusted' && was.state !== 'sent') await store.forgetPeer({ id: row.id });
    if (by === 'them') links.find(row.id)?.close();
    else if (one && links.find(row.id)) await sayFarewell(one).catch(() => undefined);
    log.info({ peer: row.name, by }, 'the trust between two servers is over');
  };

  const changedHere = async (): Promise<void> => {
    store.tell(PEERS);
    await load();
  };

  const principals = createPrincipals(store, (peer) => all.find(({ id }) => id === peer));

  // The pool's questions

  const clientOf = (peer: string): Client => {
    const one = neighbours.get(peer);
    if (!one) throw new PilotageError('not-found', `there is no neighbour ${peer.slice(0, 12)} (any more)`);
    return one.client;
  };
  const fetchFrom = createFetcher(parts, clientOf);
  const relay = createCheckpointRelay(parts, identity, clientOf);
  parts.neighbours.use({
    async fetch(project, digest) {
      if (project.peer_id === null || project.home === null) return false;
      const { at } = JSON.parse(project.home) as ProjectHome;
      return fetchFrom(project.peer_id, { id: project.id, name: project.name, at }, digest);
    },
    linked: () => (leads ? new Set(all.filter(({ id }) => links.find(id)).map(({ id }) => id)) : undefined),
    checkpointed: (checkpoint: KeptCheckpoint) => relay.send(checkpoint),
    asks(ask) {
      asks.add(ask);
      allocator.wake();
      return () => void asks.delete(ask);
    },
  });

  // Which of the servers of one database keeps the links

  const lead = async (): Promise<void> => {
    const asked = performance.now();
    const now = await store.leadPeers({ serverId, leaseMs: LEASE_MS });
    if (now) ledAt = asked;
    if (now === leads) return;
    leads = now;
    log.info(
      { leads },
      leads ? 'this server keeps the links to neighbours' : 'another server keeps the links to neighbours',
    );
    if (!leads) for (const one of neighbours.values()) await endBorrower(one);
    await load();
    links.lead(leads);
  };
  store.onNote((note) => {
    if (note === PEERS) void load().catch(failed('neighbours were not read'));
  });
  await lead();
  const timer = setInterval(() => {
    tellSelf();
    void lead().catch(failed('who keeps the links was not decided'));
  }, LEAD_MS);

  return {
    self: { id: identity.id, name, places },
    links,
    map,
    isLeader: () => leads,
    principalOf(raw) {
      const session = raw instanceof http2.Http2ServerRequest ? raw.stream.session : undefined;
      const peer = links.peerOf(session);
      return peer === undefined ? undefined : principals.find(peer);
    },
    accept: (socket) => void links.accept(socket),
    isKnownToAll: () => leads && all.every(({ id, state }) => state !== 'trusted' || links.find(id) !== undefined),
    changed: changedHere,
    async hear(peer, told) {
      const one = neighbours.get(peer);
      if (one?.row.state !== 'trusted') return;
      const isNew = one.heard === undefined;
      // What another version tells, or nobody sane, must not keep the others from being asked.
      one.heard = { ...told, demand: told.demand.filter(({ shape }) => isShapeKey(shape)) };
      const terms = JSON.stringify(told.terms);
      const where = JSON.stringify(mergePlaces(told.places, JSON.parse(one.row.places) as Place[]));
      if (one.row.their_terms !== terms || one.row.places !== where || one.row.version !== told.version) {
        await store.notePeer({ id: peer, places: where, version: told.version, theirTerms: terms });
        await changedHere();
      }
      if (map.merge(told.map)) {
        await followPlaces();
        news.changed();
      }
      if (isNew || told.demand.length > 0) allocator.wake(peer);
      // What it has for us others may want.
      news.changed();
    },
    part: async (row, by) => {
      await part(row, by);
      await changedHere();
    },
    async partFrom(peer) {
      const row = all.find(({ id }) => id === peer);
      if (!row || row.state === 'revoked') return;
      await part(row, 'them').catch(failed('the end of a trust was not carried out'));
      await changedHere();
    },
    clientOf,
    heard: (peer) => neighbours.get(peer)?.heard,
    async stop() {
      closing.abort();
      clearInterval(timer);
      await Promise.all([news.stop(), allocator.stop()]);
      await links.close();
      await Promise.all([...neighbours.values()].map(endBorrower));
      if (leads) await store.leavePeers({ serverId });
    },
  };

  /** A neighbour that cannot be reached where it was may have told others where it is now. */
  async function followPlaces(): Promise<void> {
    let any = false;
    for (const { row } of neighbours.values()) {
      const entry = map.find(row.id);
      if (row.state !== 'trusted' || links.find(row.id) || !entry || entry.places.length === 0) continue;
      const where = JSON.stringify(addPlaces(JSON.parse(row.places) as Place[], entry.places));
      if (where === row.places) continue;
      await store.notePeer({ id: row.id, places: where, version: null, theirTerms: null });
      any = true;
    }
    if (any) await changedHere();
  }
}

function byPriority(neighbours: Iterable<Neighbour>): Neighbour[] {
  return [...neighbours].sort((a, b) => a.row.priority - b.row.priority);
}

const MOST_PLACES = 8;

/** What was told last comes first; where it was found before is tried after that. */
export function mergePlaces(told: readonly Place[], known: readonly Place[]): Place[] {
  const seen = new Map([...told, ...known].map(({ host, port }) => [`${host} ${port}`, { host, port }]));
  return [...seen.values()].slice(0, MOST_PLACES);
}

/** What third ones say is tried too, and takes away none of the places where it was found last. */
export function addPlaces(known: readonly Place[], said: readonly Place[]): Place[] {
  const half = MOST_PLACES / 2;
  return mergePlaces([...known.slice(0, half), ...said.slice(0, half)], known);
}
