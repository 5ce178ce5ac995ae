import { describe, expect, test } from 'vitest';
import { createLoginGate } from '../../../src/server/access/login-gate.ts';
import { createSlowDown, networkOf } from '../../../src/server/access/slow-down.ts';

const clock = { now: 0 };
const gate = () => {
  clock.now = 1000;
  return createLoginGate(() => clock.now);
};
type Gate = ReturnType<typeof createLoginGate>;

/** Looks at a try, and tells whether it had to wait for that. */
async function waits(one: Gate, at: Parameters<Gate['enter']>[0]): Promise<boolean> {
  const { waited, leave } = await one.enter(at);
  leave();
  return waited;
}

async function fail(one: Gate, times: number, address: (i: number) => string, name = 'anna'): Promise<void> {
  for (let i = 0; i < times; i += 1) one.failed({ name, address: address(i) });
}

describe('tries at one name from many addresses', () => {
  const FAR = { name: 'anna', address: '203.0.113.9' };

  test('are slowed down, though each address tries but once', async () => {
    const one = gate();
    await fail(one, 99, (i) => `10.0.${i}.1`);
    expect(await waits(one, FAR)).toBe(false);
    one.failed(FAR);
    expect(await waits(one, FAR)).toBe(true);
    expect(one.tooMany(FAR).message).toContain('from several addresses');
    expect(await waits(one, { ...FAR, name: 'bob' })).toBe(false);
  });

  test('keep nobody out who was let in from their place before', async () => {
    const one = gate();
    const home = { name: 'anna', address: '192.0.2.1' };
    one.passed(home);
    await fail(one, 500, (i) => `10.0.${i}.1`);
    expect(await waits(one, home)).toBe(false);
    expect(await waits(one, FAR)).toBe(true);
  });

  test('are over after the minute, for whoever it is', async () => {
    const one = gate();
    await fail(one, 500, (i) => `10.0.${i}.1`);
    clock.now += 60_000;
    expect(await waits(one, FAR)).toBe(false);
  });
});

test('those who are slowed down wait in a line that has an end, each key in its own', async () => {
  clock.now = 1000;
  const one = createSlowDown(() => clock.now, { allowed: 1, turnMs: 5, mostWaiting: 2 });
  expect(await one.enter('a')).toBe('free');
  one.giveBack('a');
  one.failed('a');
  one.failed('b');
  const begun = performance.now();
  const line = [one.enter('a'), one.enter('a'), one.enter('a'), one.enter('b'), one.enter('c')];
  expect(await Promise.all(line)).toEqual(['waited', 'waited', 'full', 'waited', 'free']);
  expect(performance.now() - begun).toBeGreaterThan(8);
  expect(await one.enter('a')).toBe('waited');
});

test('tries that are looked at count as failures until they are over: many at once gain nothing', async () => {
  const one = gate();
  const at = { name: 'anna', address: '10.0.0.1' };
  const entered = await Promise.all(Array.from({ length: 20 }, () => one.enter(at)));
  expect(entered.some(({ waited }) => waited)).toBe(false);
  const next = one.enter(at);
  let refused = 0;
  const refuse = () => {
    refused += 1;
  };
  for (let i = 0; i < 100; i += 1) one.enter(at).catch(refuse);
  expect((await next).waited).toBe(true);
  expect(refused).toBe(41);
  // Somebody else of that address, and that name from elsewhere, wait for nothing.
  expect(await waits(one, { name: 'bob', address: '10.0.0.1' })).toBe(false);
  expect(await waits(one, { name: 'anna', address: '10.0.0.2' })).toBe(false);
  for (const { leave } of entered) leave();
  expect(one.isSlow(at)).toBe(false);
});

test('a try that finds no place in the line is told when to come again', () => {
  const one = gate();
  for (let i = 0; i < 20; i += 1) one.failed({ name: 'anna', address: '10.0.0.1' });
  expect(one.tooMany({ name: 'anna', address: '10.0.0.1' })).toMatchObject({
    code: 'too-many-failures',
    details: { retryAfterSeconds: 60 },
  });
});

test('tries at many names from one address are slowed down', async () => {
  const one = gate();
  for (let i = 0; i < 300; i += 1) one.failed({ name: `name-${i}`, address: '10.0.0.1' });
  expect(await waits(one, { name: 'yet-another', address: '10.0.0.1' })).toBe(true);
  expect(await waits(one, { name: 'yet-another', address: '10.0.0.2' })).toBe(false);
});

test.each([
  ['192.0.2.7', '192.0.2.7'],
  ['::ffff:192.0.2.7', '192.0.2.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8:1:2::1', '2001:db8:1:2::/64'],
  ['2001:db8::1', '2001:db8:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
])('%s counts as %s', (address, network) => {
  expect(networkOf(address)).toBe(network);
});
