/**
 * Everything that the claimant has in its hands, and where each attempt is on its way:
 *
 *   running ──ended──▶ ready ──sent──▶ sent ──answered──▶ (gone)
 *      │                 ▲               │
 *      └──dropped──▶     └───no answer───┘
 *        (gone)
 */
import type { Claim, HeldAttempt, Report } from '../protocol/exchange.ts';
import type { LiveAttempt } from './executor.ts';
import { keyOf, sizeOf } from './spool.ts';

export interface Held {
  readonly key: string;
  readonly task: string;
  readonly attempt: number;
  readonly live?: LiveAttempt;
  report?: Report;
  /** When the report was made; for the decision to spool it. */
  reportedAt: number;
  spooled: boolean;
}

export interface HeldTable {
  readonly size: number;
  /** Reports that wait to be sent. */
  readonly ready: ReadonlySet<Held>;
  /** False when this attempt is held already, or was answered while an exchange was under way that may repeat it. */
  isNew(claim: { task: string; attempt: number }): boolean;
  addRunning(claim: Claim, live: LiveAttempt): Held;
  addSpooled(report: Report): Held;
  setReport(held: Held, report: Report): void;
  /** Takes reports to send, up to these bounds. At least one, if any is ready. */
  takeReady(limit: { readonly count: number; readonly bytes: number }): Held[];
  /** They were not answered. */
  putBack(items: readonly Held[]): void;
  find(attempt: { task: string; attempt: number }): Held | undefined;
  /** Answered or dropped. Exchanges up to `number` may still bring its claim again. */
  remove(held: Held, number: number): void;
  /** No exchange with a number below this is under way any more. */
  forgetRemovedBefore(number: number): void;
  list(): HeldAttempt[];
  values(): Iterable<Held>;
}

export function createHeldTable(now: () => number): HeldTable {
  const all = new Map<string, Held>();
  const ready = new Set<Held>();
  const gone = new Map<string, number>();
  return {
    get size() {
      return all.size;
    },
    ready,
    isNew: (claim) => !all.has(keyOf(claim)) && !gone.has(keyOf(claim)),
    addRunning: (claim, live) => {
      const held = { key: keyOf(claim), task: claim.task, attempt: claim.attempt, live, reportedAt: 0, spooled: false };
      all.set(held.key, held);
      return held;
    },
    addSpooled: (report) => {
      const { task, attempt } = report;
      const held = { key: keyOf(report), task, attempt, report, reportedAt: now(), spooled: true };
      all.set(held.key, held);
      ready.add(held);
      return held;
    },
    setReport: (held, report) => {
      if (all.get(held.key) !== held) return;
      held.report = report;
      held.reportedAt = now();
      ready.add(held);
    },
    takeReady: (limit) => takeReady(ready, limit),
    putBack: (items) => {
      for (const held of items) if (all.get(held.key) === held) ready.add(held);
    },
    find: (attempt) => all.get(keyOf(attempt)),
    remove: (held, number) => {
      all.delete(held.key);
      ready.delete(held);
      gone.set(held.key, number);
    },
    forgetRemovedBefore: (number) => {
      for (const [key, until] of gone) {
        if (until >= number) break;
        gone.delete(key);
      }
    },
    list: () => Array.from(all.values(), toHeldAttempt),
    values: () => all.values(),
  };
}

function takeReady(ready: Set<Held>, limit: { count: number; bytes: number }): Held[] {
  const taken: Held[] = [];
  let bytes = 0;
  for (const held of ready) {
    bytes += held.report ? sizeOf(held.report) : 0;
    if (taken.length > 0 && (taken.length >= limit.count || bytes > limit.bytes)) break;
    taken.push(held);
    ready.delete(held);
  }
  return taken;
}

function toHeldAttempt(held: Held): HeldAttempt {
  const { task, attempt, report, live } = held;
  return report || !live ? { task, attempt } : { task, attempt, ...live.state() };
}
