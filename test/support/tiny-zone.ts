/** The part of the stand-in server that knows who of a zone has which blob, and signs tickets. */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import type { HoldsRequest, SourceReply, SourceRequest, Ticket } from '../../src/ground/protocol/zone.ts';

export interface TinyZone {
  /** All questions so far. */
  readonly asked: (SourceRequest & { session: string })[];
  /** Who has what, by digest and session. */
  readonly holders: Map<string, Map<string, Holder>>;
  /** Public keys of good tickets. */
  readonly keys: string[];
  /** How often they were asked for. */
  keysAsked: number;
  /** Names whom it likes, in place of the one with the fewest others at it. */
  choose: ((session: string, request: SourceRequest) => Peer | undefined) | undefined;
  sign(ticket: Ticket, key?: KeyObject): string;
  /** A ticket for this blob at this holder, good for a minute. */
  ticket(digest: string, holder: string): string;
  join(session: string, addresses: readonly string[] | undefined): void;
  source(session: string, request: SourceRequest, size: number): SourceReply;
  holds(session: string, request: HoldsRequest): void;
}

interface Holder {
  complete: boolean;
  parent: string | undefined;
}

type Peer = NonNullable<SourceReply['peer']>;

export function createTinyZone(now: () => number): TinyZone {
  const pair = generateKeyPairSync('ed25519');
  const addresses = new Map<string, readonly string[]>();
  const blamed = new Set<string>();
  const zone: TinyZone = {
    asked: [],
    holders: new Map(),
    keys: [publicText(pair.publicKey)],
    keysAsked: 0,
    choose: undefined,
    sign: (ticket, key = pair.privateKey) => {
      const payload = Buffer.from(JSON.stringify(ticket)).toString('base64url');
      return `${payload}.${sign(null, Buffer.from(payload), key).toString('base64url')}`;
    },
    ticket: (digest, holder) => zone.sign({ digest, holder, expires: now() + 60_000 }),
    join: (session, where) => {
      if (where) addresses.set(session, where);
    },
    source: (session, request, size) => {
      zone.asked.push({ ...request, session });
      const held = holdersOf(request.digest);
      for (const { holder, what } of request.faults ?? []) {
        held.delete(holder);
        if (what !== 'gone') blamed.add(holder);
      }
      const peer = request.serverOnly ? undefined : (zone.choose ?? leastBusy)(session, request);
      held.set(session, { complete: false, parent: peer?.holder });
      return { size, ...(peer ? { peer } : {}) };
    },
    holds: (session, { add, remove }) => {
      for (const digest of add) holdersOf(digest).set(session, { complete: true, parent: undefined });
      for (const digest of remove) holdersOf(digest).delete(session);
    },
  };
  const holdersOf = (digest: string): Map<string, Holder> => {
    const held = zone.holders.get(digest) ?? new Map<string, Holder>();
    zone.holders.set(digest, held);
    return held;
  };
  const leastBusy = (session: string, { digest, faults = [] }: SourceRequest): Peer | undefined => {
    const held = holdersOf(digest);
    const load = (holder: string): number =>
      [...held.values()].filter(({ complete, parent }) => !complete && parent === holder).length;
    const behind = (holder: string | undefined): boolean =>
      holder !== undefined && (holder === session || behind(held.get(holder)?.parent));
    const [best] = [...held]
      .filter(([holder]) => addresses.has(holder) && !blamed.has(holder) && !behind(holder))
      .filter(([holder]) => !faults.some((fault) => fault.holder === holder))
      .sort(([a, one], [b, other]) => load(a) - load(b) || Number(other.complete) - Number(one.complete));
    if (!best) return undefined;
    const [holder, { complete }] = best;
    return { holder, complete, addresses: [...(addresses.get(holder) ?? [])], ticket: zone.ticket(digest, holder) };
  };
  return zone;
}

export function publicText(key: KeyObject): string {
  return key.export({ type: 'spki', format: 'der' }).toString('base64');
}
