import { expect, test } from 'vitest';
import type { Claim } from '../../../../src/ground/protocol/exchange.ts';
import type { Ended } from '../../../../src/server/federation/delegation/bring-results.ts';
import { createEnds } from '../../../../src/server/federation/delegation/find-ends.ts';
import { createHeldTasks } from '../../../../src/server/federation/delegation/held-tasks.ts';
import { createLiveTask } from '../../../../src/server/federation/delegation/live-task.ts';
import type { Parts } from '../../../../src/server/pool/parts.ts';
import type { EndedRow } from '../../../../src/server/store/verbs/borrowed.ts';

const rowOf = (idx: number): EndedRow => ({
  ...{ submission_id: 1, idx, project: '@a/p', task: `7.${idx}`, attempt: 1, state: 'succeeded', reason: null },
  ...{ exit_code: 0, local_attempt: 1, outcome: 'succeeded', signal: null, message: null, started_at: null },
  ...{ wall_seconds: 1, cpu_seconds: null, peak_memory: null, outputs: null, result: null },
});

/** Two borrowed tasks that ended, the second one of another attempt than is held here. */
function ended(onEnds: (ended: readonly Ended[]) => Promise<void>) {
  const held = createHeldTasks();
  const options = { onDrop: () => undefined, takeLogs: () => [], returnLogs: () => undefined };
  const task = createLiveTask({ task: '7.1', attempt: 1, secret: 's', project: 'p' } as Claim, options);
  task.local = { submission: 1, idx: 1 };
  held.add(task);
  const store = {
    endedBorrowed: async () => ({ upTo: 5, ended: [1, 2].map((idx) => ({ submission: 1, idx })) }),
    endedSince: async () => ({ upTo: 5, ended: [], logs: [] }),
    readEnded: async ({ keys }: { keys: { idx: number }[] }) => ({
      ended: keys.map(({ idx }) => rowOf(idx)),
      logs: [],
    }),
  };
  const ends = createEnds({
    ...{ parts: { store } as unknown as Parts, peerId: () => 'a', held, onEnds },
    onWholeLook: async () => undefined,
    wholeLookMs: 0,
  });
  return { ends, task };
}

test('what ended is told once, with the secret of the attempt, and only if it is held here', async () => {
  const told: Ended[] = [];
  const { ends } = ended(async (some) => void told.push(...some));
  await ends.look();
  await ends.look();
  expect(told).toMatchObject([{ project: '@a/p', report: { task: '7.1', secret: 's', outcome: 'succeeded' } }]);
});

test('what could not be told is told later', async () => {
  const told: Ended[] = [];
  let tries = 0;
  const { ends } = ended(async (some) => {
    tries += 1;
    if (tries === 1) throw new Error('the database is away');
    told.push(...some);
  });
  await expect(ends.look()).rejects.toThrow('away');
  await ends.look();
  expect(told.length).toBe(1);
});
