import { expect, test } from 'vitest';
import { departureOf, judgeTry, type Window, windowAfter } from '../../../src/server/core/notice.ts';

const MINUTE = 60_000;
const SETTINGS = { windowMs: 10 * MINUTE, longestWindowMs: 240 * MINUTE };

/** When letters go out about failures at these times, and how many are in each. */
function lettersOf(failures: readonly number[]): { at: number; count: number }[] {
  const letters: { at: number; count: number }[] = [];
  let open: { at: number; count: number; delayedBy: number } | undefined;
  let last: Window | undefined;
  const send = (): void => {
    if (!open) return;
    const windowMs = windowAfter(open.delayedBy, SETTINGS);
    last = { windowMs, quietUntil: open.at + windowMs };
    letters.push({ at: open.at, count: open.count });
    open = undefined;
  };
  for (const now of failures) {
    if (open && open.at < now) send();
    const { dueAt, delayedBy } = departureOf(now, last);
    open ??= { at: dueAt, count: 0, delayedBy };
    open.count += 1;
  }
  send();
  return letters;
}

test('the first failure is told at once, those of the next ten minutes together at their end', () => {
  expect(lettersOf([0, 1, 2, 3].map((minute) => minute * MINUTE))).toEqual([
    { at: 0, count: 1 },
    { at: 10 * MINUTE, count: 3 },
  ]);
});

test('while failures go on the windows double, up to the longest', () => {
  const day = Array.from({ length: 48 * 60 }, (_, minute) => minute * MINUTE);
  const letters = lettersOf(day);
  const gaps = letters.slice(1).map(({ at }, n) => (at - (letters[n]?.at ?? 0)) / MINUTE);
  expect(gaps).toEqual([10, 20, 40, 80, 160, ...gaps.slice(5).map(() => 240)]);
  expect(letters.reduce((all, { count }) => all + count, 0)).toBe(day.length);
  expect(letters.length).toBeLessThan(20);
});

test('after a quiet window the next failure is told at once again', () => {
  expect(lettersOf([0, MINUTE, 60 * MINUTE, 61 * MINUTE])).toEqual([
    { at: 0, count: 1 },
    { at: 10 * MINUTE, count: 1 },
    { at: 60 * MINUTE, count: 1 },
    { at: 70 * MINUTE, count: 1 },
  ]);
});

const RETRY = { firstPauseMs: 10_000, longestPauseMs: 30 * MINUTE, giveUpMs: 5 * 24 * 60 * MINUTE };
const tried = (outcome: 'sent' | 'refused' | 'failed', tries: number, age = 0) =>
  judgeTry({ outcome, tries, firstTryAt: 1000, now: 1000 + age }, RETRY);

test.each([
  [1, 10_000],
  [2, 20_000],
  [5, 160_000],
  [9, 30 * MINUTE],
  [5000, 30 * MINUTE],
])('after try %i the pause is %i ms', (tries, pause) => {
  expect(tried('failed', tries)).toEqual({ state: 'waiting', dueAt: 1000 + pause });
});

test('what is refused is given up at once, what fails after five days', () => {
  expect(tried('refused', 1)).toEqual({ state: 'given-up' });
  expect(tried('failed', 300, RETRY.giveUpMs - 1)).toMatchObject({ state: 'waiting' });
  expect(tried('failed', 300, RETRY.giveUpMs)).toEqual({ state: 'given-up' });
  expect(tried('sent', 300, RETRY.giveUpMs)).toEqual({ state: 'sent' });
});
