import { expect, test } from 'vitest';
import { PilotageError } from '../../../src/ground/base/errors.ts';
import { type Context, JobFault, type Shown, withMachine } from '../../../src/worker/agent/steps/context.ts';
import { isFull } from '../../../src/worker/agent/steps/with-room.ts';
import { memoryLog } from '../../support/memory-log.ts';

function contextThat(loginTried: () => Promise<void> = async () => {}) {
  const shown: Shown[] = [];
  const context = {
    machine: { name: 'hall1' },
    log: memoryLog(),
    signal: new AbortController().signal,
    show: (told: Shown) => void shown.push(told),
    loginTried,
  } as unknown as Context;
  return { context, shown };
}

function failingOnce(code: 'credential-missing' | 'host-key-changed' | 'unreachable') {
  let tried = 0;
  return async (): Promise<string> => {
    tried += 1;
    if (tried === 1) throw new PilotageError(code, `no: ${code}`);
    return 'done';
  };
}

test('where a person is needed the job waits, and says which command answers', async () => {
  const { context, shown } = contextThat();
  expect(await withMachine(context, { tries: 1 }, failingOnce('credential-missing'))).toBe('done');
  expect(shown[0]).toMatchObject({ phase: 'login', detail: expect.stringContaining("'pilotage agent login'") });
  expect(shown.at(-1)).toEqual({ detail: undefined });
});

test('a changed host key ends a job that was not sent yet, and makes one that may be there wait', async () => {
  const { context } = contextThat();
  await expect(withMachine(context, { tries: 3 }, failingOnce('host-key-changed'))).rejects.toThrow(JobFault);
  expect(await withMachine(context, {}, failingOnce('host-key-changed'))).toBe('done');
});

test('a full disk is known also as the cause of another error', () => {
  const full = Object.assign(new Error('no space left'), { code: 'ENOSPC' });
  expect(isFull(full)).toBe(true);
  expect(isFull(new JobFault('input-failed', 'its inputs', { cause: new Error('in between', { cause: full }) }))).toBe(
    true,
  );
  expect(isFull(new Error('no space left'))).toBe(false);
});
