import { describe, expect, test } from 'vitest';
import { heartbeatDue, outageExtension } from '../../../src/server/core/lease.ts';

const SETTINGS = { heartbeatMs: 30_000, leaseMs: 60_000 };

describe('leases', () => {
  test.each([
    ['no server was ever alive: nothing to extend', null, 5000, 0],
    ['an hour away: the hour and one interval', 0, 3_600_000, 3_630_000],
    ['away for an instant: one interval', 1000, 1001, 30_001],
    ['not away at all: one interval', 1000, 1000, 30_000],
    ['a clock that says it was alive later than now: one interval', 2000, 1000, 30_000],
  ])('%s', (_what, lastAlive, now, extension) => expect(outageExtension(lastAlive, now, SETTINGS)).toBe(extension));

  test('a lease that was valid when the server went is valid for one interval after it came back', () => {
    const [lastAlive, now, leaseUntil] = [100_000, 9_100_000, 100_001];
    expect(leaseUntil + outageExtension(lastAlive, now, SETTINGS) - now).toBe(SETTINGS.heartbeatMs + 1);
  });

  test.each([
    [0, false],
    [14_999, false],
    [15_000, true],
    [60_000, true],
    [-5, false],
  ])('a heartbeat %d ms after the last is written: %s', (passed, due) => {
    expect(heartbeatDue(1_000_000, 1_000_000 + passed, SETTINGS)).toBe(due);
  });
});
