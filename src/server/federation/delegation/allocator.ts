/**
 * Fills what is free here with work of neighbours: what our own workers have free and nothing of ours would take, and
 * what neighbours ask us for. Neighbours are asked in the order of priority; one that answers late is passed over, and
 * what it brings after all is run too, or given back.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { messageOf } from '../../../ground/base/errors.ts';
import { MAX_BATCH } from '../../../ground/protocol/limits.ts';
import type { Demand, Terms } from '../../../ground/protocol/peer.ts';
import { parseShapeKey, type Shape } from '../../core/shape.ts';
import type { Ask } from '../../pool/neighbours.ts';
import type { Parts } from '../../pool/parts.ts';
import { ANY_SUBMISSION, QUEUED } from '../../pool/signals.ts';
import type { IdleWorker } from '../../store/verbs/supply.ts';
import type { Borrower } from './borrower.ts';
import { ahead, isLent, limited, type Offered, offersFor, without } from './match.ts';

/** A neighbour that has something for us, as far as it told. */
export interface Lender {
  readonly id: string;
  readonly demand: readonly Demand[];
  readonly terms: Terms;
  readonly borrower: Borrower;
  /** There and back, in milliseconds. */
  readonly roundTrip: number;
}

export interface AllocatorOptions {
  readonly parts: Parts;
  /** By priority; only those with a link. */
  readonly lenders: () => readonly Lender[];
  readonly asks: () => readonly Ask[];
  readonly isLeader: () => boolean;
}

export interface Allocator {
  /** Something changed that may bring work: a neighbour has some, or asks for some. */
  wake(peer?: string): void;
  stop(): Promise<void>;
}

const IDLE_MS = 1000;
const SWEEP_MS = 30_000;
const BETWEEN_MS = 10;
/** What nobody here began with within goes back. */
const GIVE_BACK_MS = 5000;
const LEAST_PATIENCE_MS = 400;
const MOST_PATIENCE_MS = 3000;
/** After an answer with nothing, doubled up to the second; after one that came late from there on. */
const SHORT_REST_MS = 60;
const FIRST_REST_MS = 500;
const LONGEST_REST_MS = 30_000;
/** Work that others pass on takes another round trip or two. */
const PASSED_ON_SECONDS = 2;

const MOST_BINS = 200;

interface Rest {
  until: number;
  ms: number;
}

export function startAllocator({ parts, lenders, asks, isLeader }: AllocatorOptions): Allocator {
  const { store, signals, log } = parts;
  const stopped = new AbortController();
  const rests = new Map<string, Rest>();
  let woken = Promise.withResolvers<void>();
  let lastGiveBack = 0;
  let lastSweep = 0;

  const isResting = (id: string): boolean => (rests.get(id)?.until ?? 0) > performance.now();
  const rest = (id: string, isLate: boolean): void => {
    const twice = 2 * (rests.get(id)?.ms ?? SHORT_REST_MS / 2);
    const ms = isLate ? Math.min(LONGEST_REST_MS, Math.max(FIRST_REST_MS, twice)) : Math.min(FIRST_REST_MS, twice);
    rests.set(id, { until: performance.now() + ms, ms });
  };

  const round = async (): Promise<void> => {
    await giveBack();
    const able = lenders().filter(({ demand, terms }) => demand.length > 0 && isLent(terms, minuteOfDay()));
    if (able.length === 0) return;
    // Looked at before the pool: what is stored meanwhile counts twice rather than not at all.
    const arriving = new Map(able.map(({ id, borrower }) => [id, [...borrower.arriving()]]));
    const [supply, load] = await Promise.all([store.findSupply(), store.borrowedLoad()]);
    const offered: Offered[] = [
      ...supply.idle.map(toOffered),
      ...asks().flatMap(({ peer, bins }) => bins.map((bin) => ({ peer, bin }))),
    ];
    const waiting = load.flatMap(({ key, queued }) =>
      Array(Math.min(Number(queued), MAX_BATCH)).fill(parseShapeKey(key)),
    );
    waiting.push(...[...arriving.values()].flat());
    // However many they come from: who comes first is asked first for what is fetched ahead too.
    const rate = able.reduce((sum, { borrower }) => sum + borrower.rate(), 0);
    for (const lender of able) {
      if (isResting(lender.id)) continue;
      const aheadOf = aheadFor(lender, rate);
      const free = without(ahead(offered, aheadOf, lender.demand), waiting);
      const share = Math.max(0, shareOf(lender, supply.cpus, load) - cpusOf(arriving.get(lender.id) ?? []));
      const mine = limited(offersFor(lender.id, free, lender), share + aheadOf);
      if (mine.length === 0) continue;
      const brought = await ask(lender, mine);
      waiting.push(...brought);
    }
  };

  const ask = async (lender: Lender, offers: readonly Offered[]): Promise<Shape[]> => {
    const isPassedOn = lender.demand.every(({ path }) => path.length > 1);
    const waitSeconds = isPassedOn ? PASSED_ON_SECONDS : 0;
    const patience = Math.min(MOST_PATIENCE_MS, LEAST_PATIENCE_MS + 4 * lender.roundTrip) + waitSeconds * 1000;
    const answer = lender.borrower.ask(
      offers.slice(0, MOST_BINS).map(({ bin }) => bin),
      waitSeconds,
    );
    const late = pause(patience, 'late' as const, { ref: false });
    const brought = await Promise.race([answer, late]);
    if (brought === 'late') rest(lender.id, true);
    else if (brought.length === 0) rest(lender.id, false);
    else rests.delete(lender.id);
    return brought === 'late' ? [] : brought;
  };

  const giveBack = async (): Promise<void> => {
    if (performance.now() - lastGiveBack < IDLE_MS) return;
    lastGiveBack = performance.now();
    if (lastGiveBack - lastSweep > SWEEP_MS) {
      lastSweep = lastGiveBack;
      // Of neighbours that are none any more, say.
      for (const id of await store.borrowedLeftovers()) await store.forgetSubmission({ id });
    }
    // Most servers have nothing of others, and need not write to find that out.
    if ((await store.borrowedLoad()).length === 0) return;
    let back = await store.giveBackBorrowed({ peerId: null, olderMs: GIVE_BACK_MS });
    for (const { id, terms } of lenders())
      if (!isLent(terms, minuteOfDay())) back += await store.giveBackBorrowed({ peerId: id, olderMs: 0 });
    if (back === 0) return;
    parts.dirty();
    // Wakes those who report what ended; there is no submission 0.
    signals.changed(0);
  };

  const run = async (): Promise<void> => {
    while (!stopped.signal.aborted) {
      woken = Promise.withResolvers<void>();
      const noted = signals.wait([QUEUED, ANY_SUBMISSION], IDLE_MS, stopped.signal);
      if (isLeader())
        await round().catch((error: unknown) => {
          if (!stopped.signal.aborted)
            log.error({ err: error }, `neighbours were not asked for work, they will be again: ${messageOf(error)}`);
        });
      await Promise.race([noted, woken.promise]);
      await pause(BETWEEN_MS, undefined, { ref: false });
    }
  };
  const running = run();
  return {
    wake(peer) {
      if (peer !== undefined) {
        const known = rests.get(peer);
        // One that was late has to show first that it is not any more.
        if (known && known.ms <= FIRST_REST_MS) rests.delete(peer);
      }
      woken.resolve();
    },
    async stop() {
      stopped.abort();
      woken.resolve();
      await running;
    },
  };
}

function toOffered({ facts, free }: IdleWorker): Offered {
  const { total, labels, remainingSeconds } = facts;
  return { peer: null, bin: { total, free, labels, remainingSeconds } as Offered['bin'] };
}

/** What ends in the time that more takes to come is fetched ahead; not where only a share is lent, which would be passed. */
function aheadFor({ terms, roundTrip }: Lender, rate: number): number {
  if (terms.share !== undefined) return 0;
  return Math.min(MAX_BATCH, Math.ceil(rate * (0.5 + roundTrip / 500)));
}

/** The cpus that a neighbour may have more of, of our own. */
function shareOf(
  { id, terms }: Lender,
  cpus: number,
  load: readonly { peer_id: string; key: string; queued: number; running: number }[],
): number {
  if (terms.share === undefined) return Number.MAX_SAFE_INTEGER / 2;
  const taken = load
    .filter(({ peer_id: peer }) => peer === id)
    .reduce((sum, { key, queued, running }) => sum + parseShapeKey(key).cpus * (Number(queued) + Number(running)), 0);
  return Math.max(0, Math.floor(terms.share * cpus) - taken);
}

function cpusOf(shapes: readonly Shape[]): number {
  return shapes.reduce((sum, { cpus }) => sum + cpus, 0);
}

function minuteOfDay(): number {
  const now = new Date();
  return now.getHours() * 60 + now.getMinutes();
}
