import { describe, expect, test } from 'vitest';
import { judgeToken, type StandingToken } from '../../../src/server/core/judge-token.ts';
import type { Fields } from '../../../src/server/core/token.ts';

const todo: Fields = { type: 'token', lock: 0, done: 0, hostname: '', scrub_count: 0, exit_code: '', input: 'x' };
const locked: Fields = { ...todo, lock: 100, hostname: 'a' };
const done: Fields = { ...locked, done: 100, exit_code: 0 };
const failed: Fields = { ...locked, done: 140, exit_code: 3, error: ['it broke'] };

const judged = (fields: Fields, next: Fields, more: Partial<StandingToken> = {}): string => {
  const standing = { fields, isGated: false, wasHeldBefore: false, sameAttachments: true, ...more };
  const verdict = judgeToken(standing, next);
  return verdict.ok ? verdict.act : `not: ${verdict.why}`;
};

describe('a new version of a token', () => {
  test.each<[string, Fields, Fields, string]>([
    ['a free one is claimed', todo, locked, 'claim'],
    ['a free one is changed', todo, { ...todo, input: 'y' }, 'edit'],
    ['a free one is ended at once', todo, done, 'end'],
    ['a held one is claimed by another host', locked, { ...locked, hostname: 'b' }, 'not: taken'],
    ['a held one is claimed a second later', locked, { ...locked, lock: 101 }, 'not: taken'],
    ['a held one is claimed by another job', locked, { ...locked, slurm_job_id: '7' }, 'not: taken'],
    ['a held one is claimed on the same host in the same second', locked, locked, 'not: taken'],
    ['its holder writes', locked, { ...locked, percent: 5 }, 'beat'],
    ['its holder ends it', locked, done, 'end'],
    ['its holder scrubs it', locked, { ...todo, scrub_count: 1, hostname: 'a' }, 'give-back'],
    ['somebody unlocks it', locked, { ...locked, lock: 0 }, 'give-back'],
    ['an ended one is claimed by who saw it free', done, { ...done, lock: 101 }, 'not: ended'],
    ['the same, on the same host in the same second', done, done, 'not: ended'],
    ['an ended one is changed', done, { ...done, note: 'x' }, 'edit'],
    ['an ended one is reset', done, { ...todo, scrub_count: 1 }, 'reset'],
    ['a failed one is reset', failed, { ...todo, scrub_count: 1 }, 'reset'],
    ['a failed one is said to be done', failed, { ...failed, exit_code: 0 }, 'end'],
    ['an ended one is unlocked and stays done', done, { ...done, lock: 0 }, 'set-aside'],
  ])('%s', (_what, fields, next, verdict) => {
    expect(judged(fields, next)).toBe(verdict);
  });

  test('that brings another attachment is no claim, though the fields are the same', () => {
    expect(judged(locked, locked, { sameAttachments: false })).toBe('beat');
    expect(judged(done, done, { sameAttachments: false })).toBe('edit');
  });

  test('of who waits for others is not let go by a client', () => {
    expect(judged({ ...todo, lock: -1, done: -1 }, todo, { isGated: true })).toBe('not: waiting');
  });

  describe('by a client whose token was given to another meanwhile', () => {
    const before = { wasHeldBefore: true };
    const second: Fields = { ...locked, lock: 200, hostname: 'b', scrub_count: 1 };
    const secondDone: Fields = { ...second, done: 230, exit_code: 0 };
    /** What the client saves after its result was refused: its own document, scrubbed. */
    const late: Fields = { ...failed, lock: 0, done: 0, scrub_count: 1 };

    test('takes it neither from its holder nor from who ended it', () => {
      expect(judged(second, late, before)).toBe('not: stale');
      expect(judged(secondDone, late, before)).toBe('not: stale');
      expect(judged(second, { ...late, exit_code: '', error: ['other'] }, before)).toBe('not: stale');
    });

    test('is told from the holder’s own scrub, and from resets by hand', () => {
      expect(judged(second, { ...late, scrub_count: 2 }, before)).toBe('give-back');
      expect(judged(second, { ...second, lock: 0 }, before)).toBe('give-back');
      expect(judged(second, { ...second, lock: 0, hostname: '', input: 'changed' }, before)).toBe('give-back');
      expect(judged(secondDone, { ...secondDone, lock: 0, done: 0, exit_code: '' }, before)).toBe('reset');
    });

    test('is only possible where somebody had it before', () => {
      expect(judged(second, late)).toBe('give-back');
    });
  });
});
