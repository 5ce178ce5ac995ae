import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Account,
  addBurden,
  burden,
  EXPECTED_SECONDS,
  NO_USAGE,
  nextSharer,
  slotsOf,
  sumAccounts,
  turnOf,
} from '../../../src/server/core/fair-share.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

describe('what somebody has used of late', () => {
  test('counts half after a half-life, and a quarter after two', () => {
    const used = { slotSeconds: 1000, slots: 0, tasks: 0, at: 0 };
    expect(sumAccounts([used], DAY, DAY).slotSeconds).toBeCloseTo(500);
    expect(sumAccounts([used], 2 * DAY, DAY).slotSeconds).toBeCloseTo(250);
  });

  test('grows by slots times seconds while a task runs', () => {
    const began = { slotSeconds: 0, slots: 4, tasks: 1, at: 0 };
    expect(sumAccounts([began], 1000, DAY).slotSeconds).toBeCloseTo(4, 3);
    const week = sumAccounts([began], 7 * DAY, DAY);
    expect(week.slotSeconds).toBeGreaterThan(4 * 86_400);
    expect(week.slotSeconds).toBeLessThan((4 * 86_400) / Math.LN2);
  });

  test('stays, and only fades, once the task has ended', () => {
    const began = { slotSeconds: 0, slots: 2, tasks: 1, at: 0 };
    const ended = { slotSeconds: 0, slots: -2, tasks: -1, at: 10_000 };
    const after = sumAccounts([began, ended], 20_000, DAY);
    expect(after).toMatchObject({ slots: 0, tasks: 0 });
    expect(after.slotSeconds).toBeCloseTo(20, 2);
  });

  test('is the same, however often and in whatever order differences are added up', () => {
    const difference = fc.record({
      slotSeconds: fc.constant(0),
      slots: fc.integer({ min: -8, max: 8 }),
      tasks: fc.integer({ min: -8, max: 8 }),
      at: fc.integer({ min: 0, max: 5 * HOUR }),
    });
    fc.assert(
      fc.property(fc.array(difference, { maxLength: 20 }), fc.integer({ min: 0, max: 20 }), (all: Account[], cut) => {
        const at = 5 * HOUR;
        const first = sumAccounts(all.slice(0, cut), at, DAY);
        const folded = sumAccounts([first, ...all.slice(cut).reverse()], 9 * HOUR, DAY);
        const once = sumAccounts(all, 9 * HOUR, DAY);
        expect(folded.slotSeconds).toBeCloseTo(once.slotSeconds, 3);
        expect([folded.slots, folded.tasks]).toEqual([once.slots, once.tasks]);
      }),
    );
  });

  test('a task that asks for no core takes a slot all the same', () => {
    expect(slotsOf({ cpus: 0 })).toBe(1);
    expect(slotsOf({ cpus: 8 })).toBe(8);
  });

  test('a clock that steps back takes nothing away', () => {
    const running = { slotSeconds: 50, slots: 1, tasks: 1, at: 2000 };
    expect(sumAccounts([running], 1000, DAY)).toMatchObject({ slotSeconds: 50, slots: 1 });
  });
});

describe('turns', () => {
  test('who has had less for the weight comes first, and what is taken counts at once', () => {
    const anna = { name: 'anna', weight: 2, burden: burden({ ...NO_USAGE, slotSeconds: 100 }, 2) };
    const ben = { name: 'ben', weight: 1, burden: burden({ ...NO_USAGE, slotSeconds: 60 }, 1) };
    expect(nextSharer([ben, anna])?.name).toBe('anna');
    expect(nextSharer([ben, addBurden(anna, 1)])?.name).toBe('ben');
    expect(burden({ ...NO_USAGE, slots: 1 }, 1)).toBe(EXPECTED_SECONDS);
  });

  test('who is alone takes all; of a thousand slots turns are large, the last ones are single', () => {
    const even = { weight: 1, burden: 0 };
    expect(turnOf(even, [], { slots: 1, room: 1000 })).toBe(1000);
    expect(turnOf(even, [even], { slots: 1, room: 1000 })).toBe(250);
    expect(turnOf(even, [even], { slots: 1, room: 3 })).toBe(1);
    expect(turnOf(even, [{ weight: 1, burden: 40 * EXPECTED_SECONDS }], { slots: 2, room: 50 })).toBe(20);
  });
});

/** Slots that end at random times and are given anew: who had how much in all. */
function simulate(weights: readonly number[], random: () => number): number[] {
  const slots = 10;
  const running: Array<{ owner: number; from: number; until: number }> = [];
  const accounts = weights.map(() => [] as Account[]);
  const had = weights.map(() => 0);
  let now = 0;
  for (let given = 0; given < 4000; given += 1) {
    if (running.length === slots) {
      running.sort((a, b) => b.until - a.until);
      const ended = running.pop() as (typeof running)[number];
      now = ended.until;
      had[ended.owner] = (had[ended.owner] ?? 0) + (ended.until - ended.from);
      accounts[ended.owner]?.push({ slotSeconds: 0, slots: -1, tasks: -1, at: now });
    }
    const sharers = weights.map((weight, owner) => {
      const account = sumAccounts(accounts[owner] ?? [], now, DAY);
      accounts[owner] = [account];
      return { owner, weight, burden: burden(account, weight) };
    });
    const { owner } = nextSharer(sharers) as (typeof sharers)[number];
    running.push({ owner, from: now, until: now + 1000 + random() * 600_000 });
    accounts[owner]?.push({ slotSeconds: 0, slots: 1, tasks: 1, at: now });
  }
  return had;
}

test('in the long run users who always have tasks waiting get slots by their weights, however long tasks take', () => {
  const weight = fc.integer({ min: 1, max: 5 });
  fc.assert(
    fc.property(weight, weight, fc.integer(), (one, two, seed) => {
      let state = seed >>> 0;
      const random = () => {
        state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
        return state / 2 ** 32;
      };
      const [a = 0, b = 0] = simulate([one, two], random);
      expect(a / (a + b)).toBeGreaterThan(one / (one + two) - 0.03);
      expect(a / (a + b)).toBeLessThan(one / (one + two) + 0.03);
    }),
    { numRuns: 30 },
  );
});
