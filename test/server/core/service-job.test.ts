import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { JOB_STATES, type JobState } from '../../../src/ground/base/job-state.ts';
import {
  dueAt,
  isActive,
  isLegal,
  isResting,
  judgeChange,
  mayWish,
  type ServiceChange,
  type ServiceJob,
  type Wish,
} from '../../../src/server/core/service-job.ts';

const FRESH: ServiceJob = {
  state: 'INCOMING',
  intent: null,
  step: 0,
  run: 0,
  wish: null,
  waiting: 0,
  settled: true,
};

test('the moves that are legal are these and no others', () => {
  const legal = JOB_STATES.flatMap((from) => JOB_STATES.filter((to) => isLegal(from, to)).map((to) => `${from} ${to}`));
  const usual = ['INCOMING', 'PREPROCESSING', 'RUNNING', 'POSTPROCESSING', 'FINALIZING'];
  expect(legal.sort()).toEqual(
    [
      'INCOMING PREPROCESSING',
      'PREPROCESSING RUNNING',
      'RUNNING POSTPROCESSING',
      'POSTPROCESSING FINALIZING',
      'FINALIZING COMPLETED',
      'COMPLETED ARCHIVED',
      'ARCHIVED EXPIRED',
      'PREPROCESSING COMPLETED',
      'POSTPROCESSING RUNNING',
      'FAILED INCOMING',
      'CANCELLED INCOMING',
      ...[...usual, 'COMPLETED', 'ARCHIVED', 'EXPIRED'].map((from) => `${from} FAILED`),
      ...usual.map((from) => `${from} CANCELLED`),
    ].sort(),
  );
});

const state = fc.constantFrom(...JOB_STATES);
const kind = fc.constantFrom('begin', 'arrive', 'settle', 'tell', 'gone');
/** Mostly of a host that knows the job, sometimes of one that is behind or ahead. */
const change = fc.record({ kind, to: state, off: fc.constantFrom(0, 0, 0, 0, -1, 1) });

function toChange(job: ServiceJob, { kind, to, off }: { kind: string; to: JobState; off: number }): ServiceChange {
  const step = Math.max(0, job.step + off);
  return kind === 'begin' ? { kind, step, to } : ({ kind, step } as ServiceChange);
}

describe('whatever a host says', () => {
  test('a job goes only where it may, and only from an intent', () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 60 }), (events) => {
        let job = FRESH;
        for (const event of events) {
          const before = job;
          const judged = judgeChange(job, toChange(job, event));
          if (!judged.ok) continue;
          job = judged.job;
          if (job.state === before.state) continue;
          expect(job.state).toBe(before.intent);
          expect(isLegal(before.state, job.state) || job.state === 'FAILED').toBe(true);
          expect(job.intent).toBe(null);
          expect(job.settled).toBe(!['COMPLETED', 'ARCHIVED', 'EXPIRED'].includes(job.state));
        }
      }),
      { numRuns: 2000 },
    );
  });

  test('the same said twice is said once', () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 60 }), (events) => {
        let job = FRESH;
        for (const event of events) {
          const said = toChange(job, event);
          const judged = judgeChange(job, said);
          if (!judged.ok) continue;
          const again = judgeChange(judged.job, said);
          expect(again.ok && again.job).toEqual(judged.job);
          job = judged.job;
        }
      }),
      { numRuns: 2000 },
    );
  });

  test('what was true a step ago changes nothing', () => {
    const running = { ...FRESH, state: 'RUNNING', step: 4 } as const;
    for (const step of [2, 3, 5])
      for (const to of JOB_STATES)
        expect(judgeChange(running, { kind: 'begin', step, to }).ok, `${step} ${to}`).toBe(false);
  });

  test('a job with something to do is never forgotten, and one at rest costs nothing', () => {
    for (const one of JOB_STATES) {
      expect(isActive({ ...FRESH, state: one, intent: 'FAILED' })).toBe(true);
      expect(isActive({ ...FRESH, state: one, wish: 'delete' })).toBe(true);
      expect(isActive({ ...FRESH, state: one, settled: false })).toBe(true);
      expect(isActive({ ...FRESH, state: one })).toBe(!isResting(one));
    }
    expect(isActive({ ...FRESH, waiting: 1 })).toBe(false);
  });
});

test('a job that waits for others is not begun, but may fail or be cancelled', () => {
  const waiting = { ...FRESH, waiting: 2 };
  expect(judgeChange(waiting, { kind: 'begin', step: 0, to: 'PREPROCESSING' })).toMatchObject({ ok: false });
  expect(judgeChange(waiting, { kind: 'begin', step: 0, to: 'CANCELLED' })).toMatchObject({ ok: true });
});

test('a move that cannot be made makes way for failure, from anywhere', () => {
  for (const from of JOB_STATES)
    for (const intent of JOB_STATES.filter((to) => isLegal(from, to))) {
      const moving = { ...FRESH, state: from, intent, step: 7 };
      expect(judgeChange(moving, { kind: 'begin', step: 7, to: 'FAILED' })).toMatchObject({ ok: true });
      expect(judgeChange(moving, { kind: 'begin', step: 7, to: 'ARCHIVED' })).toMatchObject({ ok: false });
    }
});

test('a cancellation that comes too late is dropped, one in time is kept until it is carried out', () => {
  const finalizing: ServiceJob = { ...FRESH, state: 'FINALIZING', intent: 'COMPLETED', step: 5, wish: 'cancel' };
  expect(judgeChange(finalizing, { kind: 'arrive', step: 5 })).toMatchObject({ job: { wish: null } });
  const preparing: ServiceJob = { ...FRESH, state: 'PREPROCESSING', intent: 'RUNNING', step: 2, wish: 'cancel' };
  expect(judgeChange(preparing, { kind: 'arrive', step: 2 })).toMatchObject({ job: { wish: 'cancel' } });
});

test.each<[Wish, readonly JobState[]]>([
  ['cancel', ['INCOMING', 'PREPROCESSING', 'RUNNING', 'POSTPROCESSING', 'FINALIZING']],
  ['resubmit', ['FAILED', 'CANCELLED']],
  ['delete', ['COMPLETED', 'ARCHIVED', 'EXPIRED', 'FAILED', 'CANCELLED']],
  ['archive', ['COMPLETED']],
  ['expire', ['ARCHIVED']],
])('%s can be wished of jobs that are %s', (wish, states) => {
  expect(JOB_STATES.filter((one) => mayWish({ ...FRESH, state: one }, wish))).toEqual(states);
});

test('both times count from the end of the job, and never never comes', () => {
  const retention = { archiveMs: 100, expireMs: 300 };
  expect(dueAt('COMPLETED', 1000, retention)).toBe(1100);
  expect(dueAt('ARCHIVED', 1000, retention)).toBe(1300);
  expect(dueAt('FAILED', 1000, retention)).toBe(null);
  expect(dueAt('COMPLETED', 1000, { archiveMs: null, expireMs: null })).toBe(null);
  expect(dueAt('ARCHIVED', 1000, { archiveMs: 100, expireMs: null })).toBe(null);
});
