import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { steadyClock } from '../../../../src/server/store/sqlite/clock.ts';

const HOUR = 3_600_000;
const START = 1_700_000_000_000;

/** A clock over a wall clock and a monotonic one that the test moves. */
function world(kept = 0) {
  const sources = { wall: START, monotonic: 0 };
  const clock = steadyClock(kept, { wall: () => sources.wall, monotonic: () => sources.monotonic });
  return {
    clock,
    setWall: (by: number) => {
      sources.wall += by;
    },
    pass: (ms: number) => {
      sources.wall += ms;
      sources.monotonic += ms;
      return clock();
    },
  };
}

describe('the clock of the embedded database', () => {
  test('goes with the wall clock while nobody sets it', () => {
    const { clock, pass } = world();
    expect(clock()).toBe(START);
    expect(pass(1500)).toBe(START + 1500);
  });

  test('goes on at normal speed when the wall clock is set back an hour', () => {
    const { setWall, pass } = world();
    pass(1000);
    setWall(-HOUR);
    expect(pass(0)).toBe(START + 1000);
    expect(pass(60_000)).toBe(START + 61_000);
  });

  test('does not jump when the wall clock is set forward an hour: it catches up at a tenth of the time that passes', () => {
    const { setWall, pass } = world();
    pass(1000);
    setWall(HOUR);
    expect(pass(0)).toBe(START + 1000);
    expect(pass(60_000)).toBe(START + 1000 + 66_000);
    for (let minute = 0; minute < 600; minute += 1) pass(60_000);
    expect(pass(0)).toBe(START + 1000 + HOUR + 601 * 60_000);
  });

  test('begins where it was kept when the wall clock is behind that, and then goes at normal speed', () => {
    const { clock, pass } = world(START + HOUR);
    expect(clock()).toBe(START + HOUR);
    expect(pass(1000)).toBe(START + HOUR + 1000);
  });

  test('begins at the wall clock when that is ahead of what was kept: the server was away', () => {
    expect(world(START - HOUR).clock()).toBe(START);
  });

  test('is not taken in by a monotonic clock that misbehaves', () => {
    let monotonic = 1000;
    const clock = steadyClock(0, { wall: () => START, monotonic: () => monotonic });
    monotonic = 0;
    expect(clock()).toBe(START);
  });

  test('never runs backwards, and never faster than a tenth more than real time, however the wall clock is set', () => {
    const step = fc.record({ pass: fc.nat(100_000), set: fc.integer({ min: -HOUR, max: HOUR }) });
    fc.assert(
      fc.property(fc.array(step), fc.integer({ min: -HOUR, max: HOUR }), (steps, kept) => {
        const { clock, setWall, pass } = world(START + kept);
        let before = clock();
        for (const { pass: ms, set } of steps) {
          setWall(set);
          const now = pass(ms);
          expect(now).toBeGreaterThanOrEqual(before + ms - 1);
          expect(now).toBeLessThanOrEqual(before + ms * 1.1 + 1);
          before = now;
        }
      }),
    );
  });
});
