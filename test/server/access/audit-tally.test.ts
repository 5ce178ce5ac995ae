import { expect, test, vi } from 'vitest';
import { createTally } from '../../../src/server/access/audit-tally.ts';
import type { AuditEntry } from '../../../src/server/store/verbs/audit.ts';

const entry = (who: string, address = 'a'): AuditEntry => ({
  ...{ who, how: 'password', address, action: 'login', subject: '', detail: '{}', outcome: 'refused' as const },
});

function tally() {
  const written: AuditEntry[] = [];
  const errors: unknown[] = [];
  const one = createTally(
    async (entries) => void written.push(...entries),
    (error) => errors.push(error),
  );
  return { ...one, written, errors };
}

test('what is alike becomes one line with its number, soon for the first of a burst, and then less and less often', async () => {
  vi.useFakeTimers();
  try {
    const one = tally();
    for (let i = 0; i < 50; i += 1) one.add(entry('anna'));
    one.add(entry('anna', 'b'));
    expect(one.written).toEqual([]);
    await vi.advanceTimersByTimeAsync(1000);
    expect(one.written.map(({ address, times }) => [address, times])).toEqual([
      ['a', 50],
      ['b', 1],
    ]);
    for (let i = 0; i < 1000; i += 1) one.add(entry('anna'));
    await vi.advanceTimersByTimeAsync(1999);
    expect(one.written).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(1);
    expect(one.written.at(-1)?.times).toBe(1000);
    // An attack that goes on for a day is told in some three hundred lines.
    for (let second = 0; second < 86_400; second += 1) {
      one.add(entry('anna'));
      await vi.advanceTimersByTimeAsync(1000);
    }
    expect(one.written.length).toBeLessThan(320);
    expect(one.written.length).toBeGreaterThan(280);
    // After a time of rest the first is told soon again.
    await vi.advanceTimersByTimeAsync(900_000);
    const before = one.written.length;
    one.add(entry('anna'));
    await vi.advanceTimersByTimeAsync(1000);
    expect(one.written).toHaveLength(before + 1);
  } finally {
    vi.useRealTimers();
  }
});

test('many names from many addresses do not fill the disk, and none is lost from the count', async () => {
  const one = tally();
  for (let i = 0; i < 5000; i += 1) one.add(entry(`name-${i}`, `address-${i}`));
  for (let i = 0; i < 7; i += 1) one.add(entry('name-3', 'address-3'));
  await one.close();
  expect(one.written).toHaveLength(11);
  expect(one.written[0]).toMatchObject({ who: 'name-3', times: 8 });
  expect(one.written.at(-1)).toMatchObject({ who: '(others)', address: null });
  expect(one.written.reduce((sum, { times = 1 }) => sum + times, 0)).toBe(5007);
});

test('a failure to write is told', async () => {
  const errors: unknown[] = [];
  const one = createTally(
    () => Promise.reject(new Error('the disk is full')),
    (error) => errors.push(error),
  );
  one.add(entry('anna'));
  await one.close();
  expect(errors).toHaveLength(1);
});
