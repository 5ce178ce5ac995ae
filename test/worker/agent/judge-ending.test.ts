import { expect, test } from 'vitest';
import { judgeEnding, parseExitFile } from '../../../src/worker/agent/judge-ending.ts';

test.each([
  ['0\n', { code: 0 }],
  ['0 \n', { code: 0 }],
  ['127 not-found\n', { code: 127, word: 'not-found' }],
  ['', undefined],
  ['x', undefined],
  ['1234', undefined],
])('an exit-code file with %j says %j', (text, says) => expect(parseExitFile(text)).toEqual(says));

test.each([
  ['the program ended well', { code: 0 }, undefined, { outcome: 'succeeded', exitCode: 0 }],
  ['also when the batch system thinks otherwise', { code: 0 }, { cause: 'failed' as const }, { outcome: 'succeeded' }],
  ['the program ended badly', { code: 7 }, undefined, { outcome: 'failed', reason: 'exit-code', exitCode: 7 }],
  [
    'a signal ended it',
    { code: 139 },
    undefined,
    { reason: 'signal', signal: 'SIGSEGV', message: 'SIGSEGV ended the program' },
  ],
  ['it was killed for memory', { code: 137 }, { cause: 'memory-limit' as const }, { reason: 'memory-limit' }],
  ['killed for memory, and no file', undefined, { cause: 'memory-limit' as const }, { reason: 'memory-limit' }],
  ['it took too long', { code: 143 }, { cause: 'time-limit' as const }, { reason: 'time-limit' }],
  [
    'it failed by itself just before its limit',
    { code: 2 },
    { cause: 'time-limit' as const },
    { reason: 'exit-code', exitCode: 2 },
  ],
  ['there is no such program', { code: 127, word: 'not-found' }, undefined, { reason: 'command-not-found' }],
  ['the program itself ends with 127', { code: 127 }, undefined, { reason: 'exit-code', exitCode: 127 }],
  ['it cannot be executed', { code: 126, word: 'not-executable' }, undefined, { reason: 'command-not-executable' }],
  ['somebody cancelled it there', undefined, { cause: 'cancelled' as const }, { reason: 'signal' }],
  ['its node was lost', undefined, { cause: 'node-lost' as const }, { reason: 'worker-lost' }],
  ['it could not be started', undefined, { cause: 'start-failed' as const }, { reason: 'start-failed' }],
  ['it is gone without a word', undefined, undefined, { outcome: 'failed', reason: 'worker-lost' }],
  ['it left no code, but its accounting did', undefined, { cause: 'failed' as const, exitCode: 3 }, { exitCode: 3 }],
])('%s', (_name, exit, ending, judged) => expect(judgeEnding(exit, ending)).toMatchObject(judged));

test('every failure but an exit code says what happened', () => {
  for (const cause of [
    'failed',
    'time-limit',
    'memory-limit',
    'cancelled',
    'preempted',
    'node-lost',
    'start-failed',
  ] as const)
    expect(judgeEnding(undefined, { cause }).message).toMatch(/\w{4}/);
});
