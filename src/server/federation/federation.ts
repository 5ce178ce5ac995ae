/**
 * Neighbours: other servers with which trust was exchanged. This room keeps who they are (`trust.ts`, `neighbours.ts`), the
 * links to them (`links.ts`), what is known of the network (`network-map.ts`), and has their workers and ours help each other
 * (`delegation/`). All of it stands on the pool: a neighbour claims and reports as a worker does.
 */
import type { IncomingMessage } from 'node:http';
import http2 from 'node:http2';
import type { Duplex } from 'node:stream';
import { messageOf } from '../../ground/base/errors.ts';
import type { Client } from '../../ground/client/client.ts';
import type { PeerNews, Place, Terms } from '../../ground/protocol/peer.ts';
import type { Principal } from '../access/principal.ts';
import type { Ask, KeptCheckpoint } from '../pool/neighbours.ts';
import type { Parts } from '../pool/parts.ts';
import type { PeerRow } from '../store/verbs/peers.ts';
import { startAllocator } from './delegation/allocator.ts';
import type { ProjectHome } from './delegation/borrow.ts';
import { startBorrower } from './delegation/borrower.ts';
import { createCheckpointRelay } from './delegation/checkpoint-relay.ts';
import { createFetcher } from './delegation/files.ts';
import { createHearing } from './hearing.ts';
import type { Identity } from './identity.ts';
import { createLeadership } from './leadership.ts';
import { createLinks, type Links } from './links.ts';
import { createPrincipals } from './neighbour-principal.ts';
import { createNeighbours } from './neighbours.ts';
import { createNetworkMap, type NetworkMap } from './network-map.ts';
import { type Listener, startNews } from './news.ts';
import { createParting } from './parting.ts';

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
  stop(): Promise<void>;
}

/** The note by which servers of one database tell each other that neighbours changed. */
const PEERS = 'p';
const TELL_MS = 3000;

export async function openFederation(options: FederationOptions): Promise<Federation> {
  const { parts, identity, serverId, name } = options;
  const { store, log } = parts;
  const map = createNetworkMap(identity.id, Date.now);
  const asks = new Set<Ask>();
  const closing = new AbortController();
  const places = (): Place[] => [...options.places()];
  const onFailure = (what: string, error: unknown): void => {
    if (!closing.signal.aborted) log.error({ err: error }, `${what}: ${messageOf(error)}`);
  };

  const leadership = createLeadership({
    store,
    serverId,
    onFailure: (error) => onFailure('who keeps the links was not decided', error),
    async onChange(leads) {
      const who = leads ? 'this server' : 'another server';
      log.info({ leads }, `${who} keeps the links to neighbours`);
      if (!leads) await neighbours.endBorrowers();
      await load();
      links.lead(leads);
    },
  });
  const neighbours = createNeighbours({
    store,
    transport: (peer) => links.transport(peer),
    onFailure,
    borrow: (one) =>
      startBorrower({
        parts,
        identity,
        client: one.client,
        peer: () => one.row,
        name: `@${name}`,
        isLeader: leadership.isSure,
        onChange: () => allocator.wake(),
      }),
  });
  const links = createLinks({
    identity,
    store,
    log,
    answer: options.answer,
    onLink: (peer, isUp, silentMs) =>
      void onLink(peer, isUp, silentMs).catch((error: unknown) => onFailure('a link was not looked after', error)),
    onVerdict: async (row, verdict) => {
      if (row.state === 'ending' && verdict !== 'welcome') await store.forgetPeer({ id: row.id });
      if (row.state === 'sent' && verdict === 'welcome') await store.acceptTrust({ id: row.id });
      if (row.state === 'trusted' && (verdict === 'unknown' || verdict === 'revoked')) await parting.part(row, 'them');
      if (verdict !== 'not-yet' && (row.state !== 'trusted' || verdict !== 'welcome')) await changedHere();
    },
  });
  const principals = createPrincipals(store, neighbours.row);

  const listeners = (): Listener[] =>
    [...neighbours.all()]
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
    isLeader: leadership.leads,
    asks: () => [...asks],
    lenders: () =>
      [...neighbours.all()]
        .sort((a, b) => a.row.priority - b.row.priority)
        .flatMap(({ row, heard, ready, roundTrip }) =>
          row.state === 'trusted' && ready && heard && links.find(row.id)
            ? [{ id: row.id, demand: heard.demand, terms: JSON.parse(row.terms) as Terms, borrower: ready, roundTrip }]
            : [],
        ),
  });

  // Who is there

  const read = async (): Promise<void> => {
    await neighbours.read();
    principals.forget();
  };
  const load = async (): Promise<void> => {
    await read();
    await neighbours.settle();
    links.want(neighbours.rows().filter(({ state }) => state === 'trusted' || state === 'sent' || state === 'ending'));
    if (leadership.leads()) await neighbours.startBorrowers();
    tellSelf();
    news.changed();
    allocator.wake();
  };
  const changedHere = async (): Promise<void> => {
    store.tell(PEERS);
    await load();
  };
  const parting = createParting({ parts, links, neighbours, onRead: read, onEnd: changedHere });

  const onLink = async (peer: string, isUp: boolean, silentMs: number): Promise<void> => {
    const one = neighbours.find(peer);
    if (isUp && one?.row.state === 'ending') return parting.sayFarewell(one);
    if (!isUp && one) {
      one.heard = undefined;
      if (!closing.signal.aborted) await store.notePeerContact({ id: peer, error: null, silentMs });
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

  // The pool's questions

  const fetchFrom = createFetcher(parts, neighbours.clientOf);
  const relay = createCheckpointRelay(parts, identity, neighbours.clientOf);
  parts.neighbours.use({
    async fetch(project, digest) {
      if (project.peer_id === null || project.home === null) return false;
      const { at } = JSON.parse(project.home) as ProjectHome;
      return fetchFrom(project.peer_id, { id: project.id, name: project.name, at }, digest);
    },
    linked: () =>
      leadership.leads()
        ? new Set(
            neighbours
              .rows()
              .filter(({ id }) => links.find(id))
              .map(({ id }) => id),
          )
        : undefined,
    checkpointed: (checkpoint: KeptCheckpoint) => relay.send(checkpoint),
    asks(ask) {
      asks.add(ask);
      allocator.wake();
      return () => void asks.delete(ask);
    },
  });

  store.onNote((note) => {
    if (note === PEERS) void load().catch((error: unknown) => onFailure('neighbours were not read', error));
  });
  await leadership.begin();
  const telling = setInterval(tellSelf, TELL_MS);

  return {
    self: { id: identity.id, name, places },
    links,
    map,
    isLeader: leadership.leads,
    principalOf(raw) {
      const session = raw instanceof http2.Http2ServerRequest ? raw.stream.session : undefined;
      const peer = links.peerOf(session);
      return peer === undefined ? undefined : principals.find(peer);
    },
    accept: (socket) => void links.accept(socket),
    isKnownToAll: () =>
      leadership.leads() &&
      neighbours.rows().every(({ id, state }) => state !== 'trusted' || links.find(id) !== undefined),
    changed: changedHere,
    hear: createHearing({
      ...{ store, neighbours, links, map },
      onChange: changedHere,
      onNews: news.changed,
      onDemand: allocator.wake,
    }),
    part: async (row, by) => {
      await parting.part(row, by);
      await changedHere();
    },
    async partFrom(peer) {
      const row = neighbours.row(peer);
      if (!row || row.state === 'revoked') return;
      await parting
        .part(row, 'them')
        .catch((error: unknown) => onFailure('the end of a trust was not carried out', error));
      await changedHere();
    },
    clientOf: neighbours.clientOf,
    async stop() {
      closing.abort();
      clearInterval(telling);
      leadership.stop();
      await Promise.all([news.stop(), allocator.stop()]);
      await links.close();
      await neighbours.endBorrowers();
      await leadership.leave();
    },
  };
}
