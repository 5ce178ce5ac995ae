import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  isFinished,
  judgeLoss,
  judgeReport,
  type Limits,
  mayReattach,
  mayRetry,
  type NextState,
  type ReportOutcome,
  type RowState,
  type TaskFacts,
} from '../../../src/server/core/task.ts';

const LIMITS: Limits = { retries: 1, backoffMs: 0, lost: 3, ended: 2 };
const NOW = 1_000_000;
const task = (over: Partial<TaskFacts> = {}): TaskFacts => ({
  state: 'running',
  attempt: 2,
  attemptState: 'open',
  failures: 0,
  losses: 0,
  plannedEnds: 0,
  ...over,
});

describe('a report', () => {
  test.each<[string, Partial<TaskFacts>, ReportOutcome, NextState, Partial<TaskFacts>]>([
    ['success ends the task', {}, 'succeeded', { state: 'succeeded' }, {}],
    ['a failure that may be retried queues it again', {}, 'failed', { state: 'queued' }, { failures: 1 }],
    [
      'one failure too many fails it',
      { failures: 1 },
      'failed',
      { state: 'failed', reason: 'exit-code' },
      { failures: 2 },
    ],
    [
      'a release is never charged',
      { failures: 1, losses: 2, plannedEnds: 1 },
      'released',
      { state: 'queued' },
      { failures: 1, losses: 2, plannedEnds: 1 },
    ],
    ['a planned end is counted', {}, 'ended', { state: 'queued' }, { plannedEnds: 1 }],
    [
      'too many planned ends fail it',
      { plannedEnds: 1 },
      'ended',
      { state: 'failed', reason: 'worker-ended' },
      { plannedEnds: 2 },
    ],
    ['a lost spawner is a loss', { losses: 1 }, 'lost', { state: 'queued' }, { losses: 2 }],
    ['the third loss fails it', { losses: 2 }, 'lost', { state: 'failed', reason: 'worker-lost' }, { losses: 3 }],
    [
      'an attempt given up for lost that reports was not lost',
      { state: 'queued', losses: 2 },
      'succeeded',
      { state: 'succeeded' },
      { losses: 1 },
    ],
  ])('%s', (_what, over, outcome, next, counters) => {
    const verdict = judgeReport(task(over), { attempt: 2, outcome }, LIMITS, NOW);
    expect(verdict).toEqual({
      ok: true,
      repeated: false,
      next,
      counters: { failures: 0, losses: 0, plannedEnds: 0, ...counters },
    });
  });

  test.each<[string, Partial<TaskFacts>, number, string]>([
    ['of an older attempt is stale', {}, 1, 'stale-attempt'],
    [
      'of an older attempt is stale also when the task is over',
      { state: 'succeeded', attemptState: 'reported' },
      1,
      'stale-attempt',
    ],
    ['of an attempt that never was is unknown', {}, 3, 'unknown-task'],
    ['of a cancelled task comes too late', { state: 'cancelled', attemptState: 'closed' }, 2, 'already-finished'],
    ['of a task that failed for its losses comes too late', { state: 'failed' }, 2, 'already-finished'],
    [
      'of a cancelled attempt stays refused after a retry',
      { state: 'queued', attemptState: 'closed' },
      2,
      'stale-attempt',
    ],
  ])('%s', (_what, over, attempt, refusal) => {
    expect(judgeReport(task(over), { attempt, outcome: 'succeeded' }, LIMITS, NOW)).toEqual({ ok: false, refusal });
  });

  test.each<RowState>(['succeeded', 'failed', 'queued', 'waiting'])(
    'that is repeated is acknowledged, and changes nothing, when the task is %s',
    (state) => {
      expect(
        judgeReport(task({ state, attemptState: 'reported' }), { attempt: 2, outcome: 'failed' }, LIMITS, NOW),
      ).toEqual({ ok: true, repeated: true });
    },
  );

  test.each([
    [0, 1000],
    [1, 2000],
    [2, 4000],
    [11, 2_048_000],
    [12, 3_600_000],
    [60, 3_600_000],
  ])('after %d failures before, the next waits %d ms', (failures, wait) => {
    const verdict = judgeReport(
      task({ failures }),
      { attempt: 2, outcome: 'failed' },
      { ...LIMITS, retries: 100, backoffMs: 1000 },
      NOW,
    );
    expect(verdict).toMatchObject({ next: { state: 'waiting', notBefore: NOW + wait } });
  });

  test('of a failure keeps its reason', () => {
    const verdict = judgeReport(
      task(),
      { attempt: 2, outcome: 'failed', reason: 'time-limit' },
      { ...LIMITS, retries: 0 },
      NOW,
    );
    expect(verdict).toMatchObject({ next: { state: 'failed', reason: 'time-limit' } });
  });
});

test.each([
  [0, { state: 'queued' }],
  [1, { state: 'queued' }],
  [2, { state: 'failed', reason: 'worker-lost' }],
])('with %d workers lost before, one more makes it %j', (losses, next) => {
  expect(judgeLoss(task({ losses }), LIMITS)).toMatchObject({ next, counters: { losses: losses + 1 } });
});

test.each<[string, Partial<TaskFacts>, number, boolean]>([
  ['what nobody claimed meanwhile', { state: 'queued' }, 2, true],
  ['not what was claimed again', { state: 'running' }, 2, false],
  ['not an older attempt', { state: 'queued' }, 1, false],
  ['not an attempt that reported', { state: 'queued', attemptState: 'reported' }, 2, false],
  ['not an attempt that was cancelled', { state: 'queued', attemptState: 'closed' }, 2, false],
  ['not a task that failed meanwhile', { state: 'failed' }, 2, false],
])('a worker that comes back goes on with %s', (_what, over, attempt, may) => {
  expect(mayReattach(task(over), attempt)).toBe(may);
});

test.each<[RowState, boolean]>([
  ['waiting', false],
  ['queued', false],
  ['running', false],
  ['succeeded', false],
  ['failed', true],
  ['cancelled', true],
])('a task that is %s may be retried: %s', (state, may) => expect(mayRetry(state)).toBe(may));

type Event =
  | { readonly kind: 'claim' | 'loss' | 'due' | 'cancel' | 'retry' }
  | { readonly kind: 'report'; readonly back: number; readonly outcome: ReportOutcome }
  | { readonly kind: 'reattach'; readonly back: number };

const events: fc.Arbitrary<Event> = fc.oneof(
  { weight: 4, arbitrary: fc.constant({ kind: 'claim' as const }) },
  fc.record({ kind: fc.constantFrom('loss' as const, 'due' as const, 'cancel' as const, 'retry' as const) }),
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('report' as const),
      back: fc.integer({ min: -1, max: 3 }),
      outcome: fc.constantFrom<ReportOutcome>('succeeded', 'failed', 'released', 'ended', 'lost'),
    }),
  },
  fc.record({ kind: fc.constant('reattach' as const), back: fc.nat(2) }),
);
const limits: fc.Arbitrary<Limits> = fc.record({
  retries: fc.nat(3),
  backoffMs: fc.constantFrom(0, 1000),
  lost: fc.integer({ min: 1, max: 3 }),
  ended: fc.integer({ min: 1, max: 3 }),
});

/** The task after an event, as the verbs of the store carry out what was judged. `accepted` is the attempt whose report counted. */
function happen(before: TaskFacts, event: Event, bounds: Limits): { after: TaskFacts; accepted?: number } {
  const same = { after: before };
  switch (event.kind) {
    case 'claim':
      if (before.state !== 'queued') return same;
      return { after: { ...before, state: 'running', attempt: before.attempt + 1, attemptState: 'open' } };
    case 'report': {
      const attempt = before.attempt - event.back;
      const verdict = judgeReport(before, { attempt, outcome: event.outcome }, bounds, NOW);
      if (!verdict.ok || verdict.repeated) return same;
      return {
        after: { ...before, ...verdict.counters, state: verdict.next.state, attemptState: 'reported' },
        accepted: attempt,
      };
    }
    case 'loss': {
      if (before.state !== 'running') return same;
      const { next, counters } = judgeLoss(before, bounds);
      return { after: { ...before, ...counters, state: next.state } };
    }
    case 'reattach':
      if (!mayReattach(before, before.attempt - event.back)) return same;
      return { after: { ...before, state: 'running', losses: Math.max(0, before.losses - 1) } };
    case 'due':
      return before.state === 'waiting' ? { after: { ...before, state: 'queued' } } : same;
    case 'cancel':
      if (isFinished(before.state)) return same;
      return { after: { ...before, state: 'cancelled', attemptState: before.attempt === 0 ? 'reported' : 'closed' } };
    case 'retry':
      if (!mayRetry(before.state)) return same;
      return { after: { ...before, state: 'queued', failures: 0, losses: 0, plannedEnds: 0 } };
  }
}

test('whatever happens in whatever order, a finished task changes only by retry, an attempt counts once, the fence holds, and no limit is passed', () => {
  fc.assert(
    fc.property(fc.array(events, { maxLength: 60 }), limits, (history, bounds) => {
      let facts = task({ state: 'queued', attempt: 0, attemptState: 'reported' });
      const counted = new Set<number>();
      for (const event of history) {
        const { after, accepted } = happen(facts, event, bounds);
        if (isFinished(facts.state) && event.kind !== 'retry') expect(after).toEqual(facts);
        if (accepted !== undefined) {
          expect(accepted).toBe(facts.attempt);
          expect(counted.has(accepted)).toBe(false);
          counted.add(accepted);
        }
        expect(after.attempt).toBeGreaterThanOrEqual(facts.attempt);
        expect(after.failures).toBeLessThanOrEqual(bounds.retries + 1);
        expect(after.losses).toBeLessThanOrEqual(bounds.lost);
        expect(after.plannedEnds).toBeLessThanOrEqual(bounds.ended);
        expect(Math.min(after.failures, after.losses, after.plannedEnds)).toBeGreaterThanOrEqual(0);
        if (!isFinished(after.state)) {
          expect(after.failures).toBeLessThanOrEqual(bounds.retries);
          expect(after.losses).toBeLessThan(bounds.lost);
          expect(after.plannedEnds).toBeLessThan(bounds.ended);
        }
        if (after.state === 'running') expect(after.attemptState).toBe('open');
        facts = after;
      }
    }),
    { numRuns: 2000 },
  );
});
