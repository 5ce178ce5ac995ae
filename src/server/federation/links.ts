import type http2 from 'node:http2';
import type { Duplex } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { messageOf } from '../../ground/base/errors.ts';
import type { Log } from '../../ground/base/log.ts';
import { ServerUnreachable, type Transport } from '../../ground/client/transport.ts';
import type { Store } from '../store/store.ts';
import type { PeerRow } from '../store/verbs/peers.ts';
import type { Identity } from './identity.ts';
import { type DialPlace, dial } from './link/dial.ts';
import { createLink, type Link } from './link/link.ts';
import { readVerdict, sendVerdict, shakeHands, type Verdict } from './link/shake-hands.ts';
import { createStrangers } from './link/strangers.ts';

export interface LinksOptions {
  readonly identity: Identity;
  readonly store: Store;
  readonly log: Log;
  /** Answers what a neighbour asks over its link. */
  readonly answer: (request: http2.Http2ServerRequest, response: http2.Http2ServerResponse) => void;
  /** A neighbour's link is there, or gone, after so many milliseconds of silence. */
  readonly onLink: (peer: string, isUp: boolean, silentMs: number) => void;
  /** A server that was to be told proves that it knows, or that it no longer knows us. */
  readonly onVerdict: (peer: PeerRow, verdict: Exclude<Verdict, 'not-now'>) => Promise<void>;
}

/** The links to all neighbours: each is made by whoever can reach the other, and made again when it is gone. */
export interface Links {
  /** Somebody dialled. Resolves when it is known who, and what became of it. */
  accept(raw: Duplex): Promise<void>;
  find(peer: string): Link | undefined;
  /** Requests over the link to a neighbour; where there is none they wait for one as long as they may take. */
  transport(peer: string): Transport;
  /** Which neighbour asks on this session; undefined: nobody that is known. */
  peerOf(session: object | undefined): string | undefined;
  /** These servers are to be reached, and no others. Those that are without a link are dialled at once. */
  want(peers: readonly PeerRow[]): void;
  /** This server keeps the links; otherwise another one of its database does. */
  lead(isLeader: boolean): void;
  close(): Promise<void>;
}

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 5000;
const MOST_STRANGERS = 50;
/** While two links were made at once, the older one has so long to show that it works. */
const PROOF_MS = 2000;

interface Wanted {
  readonly row: PeerRow;
  readonly stop: AbortController;
  /** Ends the pause before the next try. */
  hurry: () => void;
}

export function createLinks(options: LinksOptions): Links {
  const { identity, store, log } = options;
  const links = new Map<string, Link>();
  const sessions = new WeakMap<object, string>();
  const wanted = new Map<string, Wanted>();
  const waiters = new Set<() => void>();
  const strangers = createStrangers(MOST_STRANGERS);
  let isLeader = false;
  let closed = false;

  const dialerOf = (link: Link): string => (link.isDialled ? identity.id : link.peer);

  /** Of two links that were made at once both sides keep the same one: that of the smaller id, if it works. */
  const adopt = async (link: Link): Promise<void> => {
    const old = links.get(link.peer);
    if (old && dialerOf(old) < dialerOf(link) && (await works(old))) {
      link.close();
      return;
    }
    links.set(link.peer, link);
    old?.close();
    void link.closed.then(() => {
      if (links.get(link.peer) !== link) return;
      links.delete(link.peer);
      log.info({ peer: link.peer.slice(0, 12) }, 'the link to a neighbour is gone');
      options.onLink(link.peer, false, link.silentMs());
      wanted.get(link.peer)?.hurry();
    });
    log.info({ peer: link.peer.slice(0, 12), dialled: link.isDialled }, 'there is a link to a neighbour');
    await store.notePeerContact({ id: link.peer, error: null, silentMs: 0 });
    options.onLink(link.peer, true, 0);
    for (const wake of [...waiters]) wake();
  };

  const make = (peer: string, socket: Duplex, isDialled: boolean): Promise<void> => {
    const onSession = (session: http2.ServerHttp2Session): void => void sessions.set(session, peer);
    return adopt(createLink({ peer, socket, isDialled, answer: options.answer, onSession }));
  };

  const dialOne = async (row: PeerRow, place: DialPlace, signal: AbortSignal): Promise<Verdict> => {
    const raw = await dial(place, signal);
    const { id, socket } = await shakeHands(raw, 'dialler', identity);
    if (id !== row.id) {
      socket.destroy();
      throw new Error(`another server is at ${place.host} port ${place.port}: its id is ${id.slice(0, 16)}…`);
    }
    const verdict = await readVerdict(socket);
    if (verdict !== 'not-now') await options.onVerdict(row, verdict);
    // Whoever is not to be a neighbour any more is told so over a link.
    if (verdict === 'welcome') await make(id, socket, true);
    else socket.destroy();
    return verdict;
  };

  /** All places where it may be, in turn. */
  const tryOnce = async (row: PeerRow, signal: AbortSignal): Promise<void> => {
    const errors: string[] = [];
    for (const place of JSON.parse(row.places) as DialPlace[]) {
      if (signal.aborted || links.has(row.id)) return;
      try {
        const verdict = await dialOne(row, place, signal);
        if (verdict === 'welcome') return;
        errors.push(`${place.host} port ${place.port}: ${WORDS[verdict]}`);
      } catch (error) {
        errors.push(`${place.host} port ${place.port}: ${messageOf(error)}`);
      }
    }
    const error = errors.length === 0 ? 'it has not said where it is to be found' : errors.join('; ');
    if (!signal.aborted && !links.has(row.id))
      await store.notePeerContact({ id: row.id, error: error.slice(0, 1000), silentMs: 0 });
  };

  const keepDialling = async (one: Wanted): Promise<void> => {
    const { row, stop } = one;
    for (let wait = FIRST_PAUSE_MS; !stop.signal.aborted; ) {
      if (isLeader && !links.has(row.id))
        await tryOnce(row, stop.signal).catch((error: unknown) =>
          log.error({ err: error }, 'a neighbour was not dialled'),
        );
      wait = links.has(row.id) ? FIRST_PAUSE_MS : Math.min(LONGEST_PAUSE_MS, wait * 2);
      const hurried = Promise.withResolvers<void>();
      one.hurry = () => {
        wait = FIRST_PAUSE_MS / 2;
        hurried.resolve();
      };
      const nap = links.has(row.id) ? LONGEST_PAUSE_MS : wait * (0.75 + Math.random() / 2);
      await Promise.race([
        hurried.promise,
        pause(nap, undefined, { signal: stop.signal, ref: false }).catch(() => undefined),
      ]);
    }
  };

  const verdictOn = async (id: string): Promise<Verdict> => {
    if (!isLeader) return 'not-now';
    const row = (await store.listPeers()).find((peer) => peer.id === id);
    if (!row) return 'unknown';
    // We asked it, and it comes: it trusts us.
    if (row.state === 'sent') await options.onVerdict(row, 'welcome');
    if (row.state === 'ending') await options.onVerdict(row, 'unknown');
    return (
      { trusted: 'welcome', sent: 'welcome', received: 'not-yet', revoked: 'unknown', ending: 'revoked' } as const
    )[row.state];
  };

  const accept = async (raw: Duplex): Promise<void> => {
    if (closed) {
      raw.destroy();
      return;
    }
    const known = strangers.enter(raw);
    try {
      const { id, socket } = await shakeHands(raw, 'dialled', identity);
      const verdict = await verdictOn(id);
      sendVerdict(socket, verdict);
      if (verdict === 'welcome') await make(id, socket, false);
    } catch (error) {
      log.debug({ error: messageOf(error) }, 'somebody dialled as a peer and did not get in');
      raw.destroy();
    } finally {
      known();
    }
  };

  const awaitLink = async (peer: string, timeoutSeconds: number, signal: AbortSignal | undefined): Promise<Link> => {
    const deadline = performance.now() + timeoutSeconds * 1000;
    for (;;) {
      const link = links.get(peer);
      if (link) return link;
      const left = deadline - performance.now();
      if (left <= 0 || closed || signal?.aborted)
        throw new ServerUnreachable(`the neighbour ${peer.slice(0, 12)}`, new Error('there is no link to it'));
      const { promise, resolve } = Promise.withResolvers<void>();
      waiters.add(resolve);
      const timer = setTimeout(resolve, left);
      const stop = (): void => resolve();
      signal?.addEventListener('abort', stop, { once: true });
      await promise;
      signal?.removeEventListener('abort', stop);
      clearTimeout(timer);
      waiters.delete(resolve);
    }
  };

  return {
    accept,
    find: (peer) => links.get(peer),
    peerOf: (session) => (session === undefined ? undefined : sessions.get(session)),
    transport: (peer) => ({
      send: async (request) => (await awaitLink(peer, request.timeoutSeconds, request.signal)).send(request),
      close: () => undefined,
    }),
    want(peers) {
      const ids = new Map(peers.map((row) => [row.id, row]));
      for (const [id, one] of wanted) {
        const row = ids.get(id);
        if (row && row.places === one.row.places && row.state === one.row.state) continue;
        one.stop.abort();
        wanted.delete(id);
        if (!row) links.get(id)?.close();
      }
      for (const [id, row] of ids) {
        if (wanted.has(id)) continue;
        const one: Wanted = { row, stop: new AbortController(), hurry: () => undefined };
        wanted.set(id, one);
        void keepDialling(one);
      }
    },
    lead(leads) {
      if (leads === isLeader) return;
      isLeader = leads;
      if (!leads) for (const link of links.values()) link.close();
      for (const one of wanted.values()) one.hurry();
    },
    async close() {
      closed = true;
      for (const { stop } of wanted.values()) stop.abort();
      wanted.clear();
      for (const wake of [...waiters]) wake();
      strangers.close();
      const open = [...links.values()];
      links.clear();
      for (const link of open) link.close();
      await Promise.all(open.map((link) => link.closed));
    },
  };
}

const WORDS: Readonly<Record<Verdict, string>> = {
  welcome: 'welcome',
  unknown: 'it knows no request of this server (any more)',
  'not-yet': 'it has not answered our request yet',
  revoked: 'it ended the trust',
  'not-now': 'another server of its database keeps the links, and is not at this address',
};

async function works(link: Link): Promise<boolean> {
  const late = pause(PROOF_MS, false, { ref: false });
  return Promise.race([
    link
      .ping()
      .then(() => true)
      .catch(() => false),
    late,
  ]);
}
