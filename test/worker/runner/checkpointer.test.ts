import { setTimeout as pause } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { createCheckpointer } from '../../../src/worker/runner/checkpointer.ts';

test('the longest interval that may be given is not the shortest', async () => {
  let captures = 0;
  const checkpointer = createCheckpointer({
    claim: { task: '1.1', attempt: 1, secret: 's', project: 'p' },
    job: { project: 'p', sandbox: '/nowhere', signal: new AbortController().signal },
    patterns: ['state'],
    intervalSeconds: 2_592_000,
    checkpoints: {
      capture: async () => {
        captures += 1;
        return [];
      },
      commit: async () => 'kept',
    },
    begunWith: [],
    told: () => undefined,
  });
  checkpointer.start();
  await pause(50);
  expect(captures).toBe(0);
  await checkpointer.end(false);
});
