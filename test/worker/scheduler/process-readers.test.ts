import { expect, test } from 'vitest';
import { batchName } from '../../../src/worker/scheduler/batch-name.ts';
import { parseClaim } from '../../../src/worker/scheduler/process/identity.ts';
import { endingOf, readExit, readSeen, type Seen, statusOf } from '../../../src/worker/scheduler/process/look.ts';
import { readProcesses } from '../../../src/worker/scheduler/process/processes.ts';
import type { BatchId, BatchRef } from '../../../src/worker/scheduler/scheduler.ts';

const ID = '4711:2385974:e5369deb-a4e9:node7';
const JOB: BatchRef = { id: ID as BatchId, name: batchName('x'), directory: '/work' };
const ALIVE: Seen = {
  boot: 'e5369deb-a4e9',
  host: 'node7',
  start: '2385974',
  claim: ID,
  exit: '',
  isCancelled: false,
  left: '',
};

test.each<[string, Partial<Seen>, string]>([
  ['its supervisor lives', {}, 'running'],
  ['it wrote down its end', { exit: '0 program', start: '' }, 'ended'],
  ['only a child of it lives', { start: '', left: '4800' }, 'running'],
  ['its number is another process by now', { start: '999' }, 'gone'],
  ['nothing is left of it', { start: '' }, 'gone'],
  ['the machine was started anew, and the number given again at the same tick', { boot: '11111111-2222' }, 'gone'],
  ['this is another machine', { host: 'node8' }, 'unknown'],
  ['the end in its directory is that of another run', { exit: '0 program', claim: '1:2:3:node7', start: '' }, 'gone'],
  ['it wrote down its end where another machine sees it', { host: 'node8', exit: '0 program' }, 'ended'],
])('when %s', (_, seen, state) => {
  expect(statusOf(JOB, { ...ALIVE, ...seen }).state).toBe(state);
});

test.each<[string, Partial<Seen>, string | undefined]>([
  ['runs', {}, undefined],
  ['was killed with its supervisor', { start: '' }, 'failed'],
  ['was cancelled with its supervisor', { start: '', isCancelled: true }, 'cancelled'],
  ['went with its machine', { boot: 'other' }, 'node-lost'],
])('the outcome of a job that %s', (_, seen, ending) => {
  const told = endingOf(JOB, { ...ALIVE, ...seen });
  expect(told?.cause).toBe(ending);
});

test.each([
  ['0 program', { cause: 'completed', exitCode: 0 }],
  ['7 program', { cause: 'failed', exitCode: 7 }],
  ['139 program', { cause: 'failed', signal: 'SIGSEGV' }],
  ['255 program', { cause: 'failed', exitCode: 255 }],
  ['143 time-limit', { cause: 'time-limit', signal: 'SIGTERM' }],
  ['137 memory-limit', { cause: 'memory-limit', signal: 'SIGKILL' }],
  ['143 cancelled', { cause: 'cancelled', signal: 'SIGTERM' }],
  ['', undefined],
])('%j is an end', (text, ending) => {
  expect(readExit(text)).toEqual(ending);
});

test('what is not a whole line of an answer is skipped', () => {
  expect(readSeen(`0|b|h|1|${ID}||yes|\nnoise | of a login\n1|b|h`)).toEqual(
    new Map([[0, { boot: 'b', host: 'h', start: '1', claim: ID, exit: '', isCancelled: true, left: '' }]]),
  );
});

test('a claim is read whole or not at all', () => {
  expect(parseClaim(ID)).toEqual({ pid: 4711, start: '2385974', boot: 'e5369deb-a4e9', host: 'node7' });
  expect(parseClaim('77:Sat_Nov_21_20.16.50_2026:17953:mac-1.local')).toMatchObject({ pid: 77 });
  for (const text of ['4711', `${ID} x`, '4711:$(reboot):b:h', '']) expect(parseClaim(text)).toBeUndefined();
});

test('processes are summed for a job, in seconds and bytes whatever the machine counts in', () => {
  const text = 'machine|node7|100|4096\n0|5|1|150|10|9|sh -c a|b\n0|6|5|50|20|3|sleep 4\n2|9|1|0|1|1|x\n';
  const jobs = readProcesses(text);
  expect([...jobs.keys()]).toEqual([0, 2]);
  expect(jobs.get(0)).toMatchObject({ node: 'node7', cpuSeconds: 2, rssBytes: 30 * 4096, elapsedSeconds: 9 });
  expect(jobs.get(0)?.processes[0]).toMatchObject({ pid: 5, parent: 1, command: 'sh -c a|b' });
});
