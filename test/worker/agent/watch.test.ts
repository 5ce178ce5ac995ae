import { expect, onTestFinished, test } from 'vitest';
import type { Machine } from '../../../src/worker/agent/machine.ts';
import { startWatch, type WatchedJob } from '../../../src/worker/agent/watch.ts';
import type { BatchId, BatchName, BatchRef, Scheduler } from '../../../src/worker/scheduler/scheduler.ts';
import { localTransport } from '../../../src/worker/transport/local-transport.ts';
import { waitUntil } from '../../support/wait-until.ts';

/** A batch system that knows nothing, and counts how often it is asked about how many. */
function setUp() {
  const transport = localTransport({ environment: process.env });
  const polls: number[] = [];
  const scheduler: Pick<Scheduler, 'name' | 'poll'> = {
    name: 'slurm',
    poll: async (_shell, refs) => {
      polls.push(refs.length);
      return new Map();
    },
  };
  const watch = startWatch({ transport, scheduler } as unknown as Machine, { shortestMs: 300, longestMs: 300 });
  onTestFinished(async () => {
    await watch.close();
    await transport.close();
  });
  const seen = new Set<number>();
  const add = (at: number): void => {
    const ref: BatchRef = { id: `${at}` as BatchId, name: `pilotage-${at}` as BatchName, directory: `/nowhere/${at}` };
    const job: WatchedJob = {
      ref,
      offsets: () => ({ stdout: 0, stderr: 0 }),
      seen: () => seen.add(at) && false,
      unseen: () => {},
    };
    watch.add(job);
  };
  return { polls, seen, add };
}

test('jobs that come one after another do not put off the look at those that are there', async () => {
  const { seen, add } = setUp();
  let at = 0;
  await waitUntil('the first job to be seen while others come', () => {
    at += 1;
    add(at);
    return seen.has(1);
  });
  expect(at).toBeLessThan(200);
});

test('many jobs are looked at in parts, after one question to the batch system', async () => {
  const { polls, seen, add } = setUp();
  for (let at = 1; at <= 450; at += 1) add(at);
  await waitUntil('all to be seen', () => seen.size === 450);
  expect(polls).toEqual([450]);
});
