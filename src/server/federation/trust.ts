import { PilotageError } from '../../ground/base/errors.ts';
import type {
  Introduction,
  PeerDetail,
  PeerList,
  PeerView,
  PingReply,
  Place,
  Terms,
} from '../../ground/protocol/peer.ts';
import { linkRoutes } from '../../ground/protocol/peer-routes.ts';
import { createGuard } from '../access/guard.ts';
import { type Principal, requireAdministrator } from '../access/principal.ts';
import type { Parts } from '../pool/parts.ts';
import type { PeerRow } from '../store/verbs/peers.ts';
import type { Federation } from './federation.ts';
import { type Identity, parseCertificate } from './identity.ts';
import { introduceAt } from './introduce.ts';
import { incompatible, PEER_PROTOCOL } from './peer-protocol.ts';
import { viewOfPeer } from './peer-view.ts';
import { mergePlaces } from './places.ts';

export interface Trust {
  list(who: Principal): Promise<PeerList>;
  show(who: Principal, peer: string): Promise<PeerDetail>;
  /** Asks another server to become a neighbour. */
  connect(who: Principal, place: { readonly host: string; readonly port: number }): Promise<PeerView>;
  trust(who: Principal, peer: string): Promise<PeerView>;
  revoke(who: Principal, peer: string): Promise<PeerView>;
  setPriority(who: Principal, peer: string, priority: number): Promise<PeerList>;
  setTerms(who: Principal, peer: string, terms: Terms): Promise<PeerView>;
  ping(who: Principal, peer: string): Promise<PingReply>;
  /** A stranger introduces itself: it is listed, and told who we are. */
  introduce(stranger: Introduction, address: string): Promise<Introduction>;
  /** A ping that came over a link, for this server or to be passed on. */
  passOn(from: string, to: string, path: readonly string[]): Promise<string[]>;
}

const MOST_REQUESTS = 100;
const PING_SECONDS = 15;

export function createTrust(parts: Parts, identity: Identity, federation: Federation): Trust {
  const { store } = parts;
  const guard = createGuard(() => performance.now());
  const { self, links, map } = federation;

  const own = (): Introduction => ({
    protocol: PEER_PROTOCOL,
    version: parts.version,
    name: self.name,
    certificate: identity.certificate,
    places: [...self.places()],
  });
  const viewAll = async (): Promise<PeerView[]> => {
    const counts = await store.countPeerTasks();
    return (await store.listPeers()).map((row) => viewOfPeer(row, counts, links.find(row.id)?.silentMs()));
  };
  const viewOne = async (id: string): Promise<PeerView> => {
    const view = (await viewAll()).find((one) => one.id === id);
    if (!view) throw unknown(id);
    return view;
  };
  /** By its name here, or by the first digits of its id. */
  const find = async (text: string): Promise<PeerRow> => {
    const rows = await store.listPeers();
    const exact = rows.find(({ id }) => id === plain(text));
    if (exact) return exact;
    // A stranger calls itself what it likes, the first digits of another one's id too.
    const isMeant = ({ name, id }: PeerRow) => name === text || (plain(text).length >= 4 && id.startsWith(plain(text)));
    const fitting = rows.filter(isMeant);
    if (fitting.length > 1)
      throw new PilotageError(
        'bad-request',
        `'${text}' is the name or the beginning of the id of ${fitting.map(({ name, id }) => `${name} (${id.slice(0, 20)}…)`).join(' and ')}: give more of the id`,
      );
    const [row] = fitting;
    if (!row) throw unknown(text);
    return row;
  };
  const mustLead = (): void => {
    if (!federation.isLeader())
      throw new PilotageError(
        'wrong-state',
        'another server of this database keeps the links to neighbours: ask that one, or stop it',
      );
  };

  const admin = (who: Principal): void => requireAdministrator(who);
  return {
    async list(who) {
      admin(who);
      return { self: { id: self.id, name: self.name, places: [...self.places()] }, peers: await viewAll() };
    },
    async show(who, peer) {
      admin(who);
      const row = await find(peer);
      const view = await viewOne(row.id);
      return { ...view, certificate: row.certificate, places: JSON.parse(row.places) as Place[], topology: map.all() };
    },
    async connect(who, place) {
      admin(who);
      const answer = await introduceAt(place, own());
      const { id, certificate } = parseCertificate(answer.certificate);
      if (id === identity.id)
        throw new PilotageError(
          'bad-request',
          `${place.host} port ${place.port} is this server itself: name another one`,
        );
      const result = await store.requestPeer({
        id,
        name: answer.name,
        certificate,
        // Where it was found is tried too: behind a firewall it may be the only way, through a tunnel.
        places: JSON.stringify(mergePlaces([place], answer.places)),
        version: answer.version,
        by: 'us',
        mostReceived: MOST_REQUESTS,
      });
      if (result === 'too-many') throw new Error('our own requests are not counted');
      if (result.was === 'trusted')
        throw new PilotageError(
          'already-exists',
          `${place.host} port ${place.port} is '${result.peer.name}' (${id.slice(0, 16)}…), which is trusted already; if it moved, its new address is known now`,
        );
      await parts.audit.note(who, 'peer.connect', result.peer.name, { id, ...place });
      await federation.changed();
      return viewOne(id);
    },
    async trust(who, peer) {
      admin(who);
      const row = await find(peer);
      if (row.state === 'trusted') throw new PilotageError('already-exists', `'${row.name}' is trusted already`);
      if (row.state === 'sent')
        throw new PilotageError(
          'wrong-state',
          `this server asked '${row.name}', not the other way round: an administrator there says 'pilotage peer trust ${identity.id.slice(0, 16)}'`,
        );
      const trusted = await store.trustPeer({ id: row.id });
      if (!trusted)
        throw new PilotageError(
          'wrong-state',
          `'${row.name}' ended the trust, and has not asked anew: only a server that asks can be trusted. Ask it with 'pilotage peer connect'`,
        );
      await parts.audit.note(who, 'peer.trust', row.name, { id: row.id });
      await federation.changed();
      return viewOne(row.id);
    },
    async revoke(who, peer) {
      admin(who);
      const row = await find(peer);
      const view = await viewOne(row.id);
      if (row.state === 'revoked') {
        await store.forgetPeer({ id: row.id });
        await federation.changed();
      } else await federation.part(row, 'us');
      await parts.audit.note(who, 'peer.revoke', row.name, { id: row.id });
      return { ...view, state: 'revoked' };
    },
    async setPriority(who, peer, priority) {
      admin(who);
      const row = await find(peer);
      if (!(await store.setPeerPriority({ id: row.id, priority }))) throw notTrusted(row);
      await parts.audit.note(who, 'peer.priority', row.name, { priority });
      await federation.changed();
      return { self: { id: self.id, name: self.name, places: [...self.places()] }, peers: await viewAll() };
    },
    async setTerms(who, peer, terms) {
      admin(who);
      const row = await find(peer);
      if (!(await store.setPeerTerms({ id: row.id, terms: JSON.stringify(terms) }))) throw notTrusted(row);
      await parts.audit.note(who, 'peer.lend', row.name, { terms });
      await federation.changed();
      return viewOne(row.id);
    },
    async ping(who, peer) {
      admin(who);
      mustLead();
      const to = await findAnywhere(peer);
      const begun = performance.now();
      const path = await passOn(self.id, to, []);
      const names = path.map((id) => map.find(id)?.name ?? id.slice(0, 12));
      return { milliseconds: Math.round((performance.now() - begun) * 10) / 10, path, names };
    },
    async introduce(stranger, address) {
      const wait = guard.blockedFor(address);
      if (wait > 0)
        throw new PilotageError(
          'too-many-failures',
          `too many requests to connect came from ${address}: try again in ${wait} s`,
          {
            details: { retryAfterSeconds: wait },
          },
        );
      guard.failed(address);
      if (stranger.protocol !== PEER_PROTOCOL) throw incompatible(stranger.version, parts.version);
      const { id, certificate } = parseCertificate(stranger.certificate);
      if (id === identity.id) return own();
      const seen = stranger.places.map(({ port }) => ({ host: address, port }));
      const result = await store.requestPeer({
        id,
        name: stranger.name,
        certificate,
        places: JSON.stringify(mergePlaces(stranger.places, seen)),
        version: stranger.version,
        by: 'them',
        mostReceived: MOST_REQUESTS,
      });
      if (result === 'too-many')
        throw new PilotageError(
          'busy',
          `${MOST_REQUESTS} requests to connect wait here for an answer: its administrators have to look at them first ('pilotage peer list')`,
        );
      if (result.was !== result.peer.state) await federation.changed();
      parts.log.info({ peer: result.peer.name, id, address }, 'a server asks to become a neighbour');
      return own();
    },
    passOn,
  };

  async function findAnywhere(text: string): Promise<string> {
    try {
      const row = await find(text);
      return row.id;
    } catch (error) {
      const known = map
        .all()
        .filter(({ id, name }) => name === text || (text.length >= 4 && id.startsWith(plain(text))));
      if (known.length === 1 && known[0]) return known[0].id;
      throw error;
    }
  }

  async function passOn(from: string, to: string, path: readonly string[]): Promise<string[]> {
    if (to === self.id) return [...path, self.id];
    const up = map.all()[0]?.neighbours ?? [];
    const reachable = up.filter((id) => links.find(id) && id !== from);
    const next = map.nextHop(to, reachable, path);
    if (next === undefined)
      throw new PilotageError(
        'unreachable',
        `no way is known to ${map.find(to)?.name ?? to.slice(0, 16)} now: 'pilotage peer list' shows which neighbours are connected`,
      );
    const body = { to, path: [...path, self.id] };
    const answer = await federation.clientOf(next).call(linkRoutes.ping, { body, timeoutSeconds: PING_SECONDS });
    return answer.path;
  }
}

function plain(id: string): string {
  return id.replaceAll(':', '').toLowerCase();
}

function unknown(text: string): PilotageError {
  const isShort = /^[0-9a-f]{1,3}$/.test(plain(text));
  return new PilotageError(
    'not-found',
    `there is no neighbour and no request '${text}'${isShort ? ' (of an id at least four digits are needed)' : ''}: 'pilotage peer list' shows those there are`,
  );
}

function notTrusted({ name }: PeerRow): PilotageError {
  return new PilotageError(
    'wrong-state',
    `'${name}' is no neighbour yet: that comes with 'pilotage peer trust', there or here`,
  );
}
