import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createLeadership } from '../../../src/server/federation/leadership.ts';
import type { Store } from '../../../src/server/store/store.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

async function led(onChange: (leads: boolean) => Promise<void>, answers: boolean[]) {
  const failures: unknown[] = [];
  const leadership = createLeadership({
    store: { leadPeers: async () => (answers.length > 1 ? answers.shift() : answers[0]) } as unknown as Store,
    serverId: 'a',
    onChange,
    onFailure: (error) => failures.push(error),
  });
  await leadership.begin();
  return { leadership, failures };
}

test('a change that could not be carried out is carried out with the next answer', async () => {
  const told: boolean[] = [];
  let tries = 0;
  const { leadership, failures } = await led(
    async (leads) => {
      tries += 1;
      if (tries === 1) throw new Error('the database is away');
      told.push(leads);
    },
    [false, true],
  );
  await vi.advanceTimersByTimeAsync(3000);
  expect([told, failures.length, leadership.leads()]).toEqual([[], 1, true]);
  await vi.advanceTimersByTimeAsync(6000);
  expect([told, failures.length]).toEqual([[true], 1]);
  leadership.stop();
});

test('changes are carried out one after the other, and the last one stands', async () => {
  const told: string[] = [];
  const slow = Promise.withResolvers<void>();
  const { leadership } = await led(
    async (leads) => {
      told.push(`${leads} begins`);
      if (!leads) await slow.promise;
      told.push(`${leads} ends`);
    },
    [true, false, true],
  );
  await vi.advanceTimersByTimeAsync(9000);
  expect(told).toEqual(['true begins', 'true ends', 'false begins']);
  slow.resolve();
  await vi.advanceTimersByTimeAsync(3000);
  expect(told.slice(3)).toEqual(['false ends', 'true begins', 'true ends']);
  leadership.stop();
});
