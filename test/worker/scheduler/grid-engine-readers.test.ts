import { expect, test } from 'vitest';
import { batchName } from '../../../src/worker/scheduler/batch-name.ts';
import { readOutcome } from '../../../src/worker/scheduler/grid-engine/cancel.ts';
import { readUsage } from '../../../src/worker/scheduler/grid-engine/processes.ts';
import {
  endingFrom,
  readQacct,
  readSeconds,
  readSize,
} from '../../../src/worker/scheduler/grid-engine/read-accounting.ts';
import {
  readQstat,
  readReasons,
  readVerification,
  statusOf,
} from '../../../src/worker/scheduler/grid-engine/read-queue.ts';
import { gridEngineScript } from '../../../src/worker/scheduler/grid-engine/script.ts';
import { captured } from './captured.ts';

const queue = readQstat(captured('grid-engine-qstat.xml')) ?? [];
const waiting = {
  words: readReasons(captured('grid-engine-qstat-j.txt')),
  impossible: readVerification(captured('grid-engine-qalter.txt')),
};

test.each([
  ['pilotage-run', { state: 'ending' }],
  ['pilotage-huge', { state: 'pending', hopeless: true, reason: expect.stringContaining('only offers 0 slots') }],
  [
    'pilotage-nodir',
    { state: 'pending', hopeless: true, reason: expect.stringContaining("can't chdir to /nonexistent") },
  ],
  ['pilotage-waits', { state: 'pending', hopeless: false, reason: 'job dropped because of job dependencies' }],
  ['pilotage-seven', { state: 'ended' }],
])('qstat says of %s what it is', (name, status) => {
  const job = queue.find((one) => one.name === name)!;
  expect(statusOf(job, waiting)).toEqual(status);
});

test.each([
  ['r', 'running'],
  ['t', 'running'],
  ['Rr', 'running'],
  ['S', 'running'],
  ['hqw', 'pending'],
  ['dr', 'ending'],
  ['z', 'ended'],
  ['?', 'unknown'],
])('the letters %s mean %s', (letters, state) => {
  const job = { id: '1', name: 'pilotage-x', state: letters, queue: '' };
  expect(statusOf(job, { words: new Map(), impossible: new Set() }).state).toBe(state);
});

test('half an answer of qstat is none', () => {
  expect(readQstat(captured('grid-engine-qstat.xml').slice(0, 2000))).toBeUndefined();
  expect(readQstat('')).toBeUndefined();
});

test.each([
  ['ok', { cause: 'completed', exitCode: 0 }],
  ['seven', { cause: 'failed', exitCode: 7 }],
  ['segv', { cause: 'failed', signal: 'SIGSEGV' }],
  ['rt', { cause: 'time-limit', signal: 'SIGKILL' }],
  ['multi', { cause: 'memory-limit', signal: 'SIGKILL' }],
  ['run', { cause: 'failed', signal: 'SIGKILL' }],
  ['hog', { cause: 'failed', exitCode: 1 }],
])('qacct says of pilotage-%s how it ended', (suffix, ending) => {
  expect(endingFrom(captured('grid-engine-qacct.txt'), batchName(suffix), '', false)).toMatchObject(ending);
});

test('a cancelled job is told from a killed one by the mark that cancelling leaves, an ended one is not', () => {
  const text = captured('grid-engine-qacct.txt');
  expect(endingFrom(text, batchName('run'), '', true)).toMatchObject({ cause: 'cancelled', signal: 'SIGKILL' });
  expect(endingFrom(text, batchName('seven'), '', true)).toMatchObject({ cause: 'failed', exitCode: 7 });
});

test('a program that was refused memory says so itself', () => {
  const text = captured('grid-engine-qacct.txt');
  const words = 'dd: memory exhausted by input buffer of size 314572800 bytes (300 MiB)\n';
  expect(endingFrom(text, batchName('hog'), words, false)).toMatchObject({ cause: 'memory-limit' });
  expect(endingFrom(text, batchName('seven'), words, false)).toMatchObject({ cause: 'failed' });
});

test('of several records with one name the last counts, and none of another name', () => {
  const one = captured('grid-engine-qacct.txt');
  const renamed = one.replace('pilotage-seven', 'pilotage-ok   ');
  expect(endingFrom(renamed, batchName('ok'), '', false)).toMatchObject({ exitCode: 7 });
  expect(endingFrom(one, batchName('never'), '', false)).toBeUndefined();
  expect(readQacct('error: job id 999 not found\n')).toEqual([]);
});

test('qdel says of each job whether there was something to delete', () => {
  const words = captured('grid-engine-qdel.txt');
  expect(['35', '33', '999'].map((id) => readOutcome(words, 0, id))).toEqual([
    'cancelled',
    'already-gone',
    'already-gone',
  ]);
  expect(readOutcome('alice - you do not have the necessary privileges to delete the job 5', 1, '5')).toMatchObject({
    failed: expect.stringContaining('privileges'),
  });
  expect(() => readOutcome('error: commlib error: got select error (Connection refused)', 1, '5')).toThrow('no answer');
});

test('qstat -j tells what a running job uses', () => {
  expect(readUsage(captured('grid-engine-usage.txt')).get('35')).toEqual({ cpuSeconds: 0, rssBytes: 1_847_591 });
});

test('sizes and times are read as each version writes them', () => {
  expect([readSize('3.488MB'), readSize('200M'), readSize('157286400.000'), readSize('NONE')]).toEqual([
    3.488 * 1024 ** 2,
    200 * 1024 ** 2,
    157_286_400,
    0,
  ]);
  expect([readSeconds('4s'), readSeconds('3'), readSeconds('00:10:00'), readSeconds('NONE')]).toEqual([4, 3, 600, 0]);
});

const NAMES = { parallelEnvironment: 'smp', memoryResource: 'h_vmem', gpuResource: 'gpu' };
const JOB = {
  name: batchName('a'),
  directory: "/data/it's",
  body: 'true',
  stdout: '/data/o',
  stderr: '/data/e',
  wallTimeSeconds: 90.5,
  cpus: 4,
  memoryBytes: 4 * 1024 ** 3,
  gpus: 2,
  options: ['-q long.q\nrm -rf x', '#$ -P lab'],
};

test('the script goes to its directory by itself, and asks for memory by the slot', () => {
  expect(gridEngineScript(JOB, NAMES).split('\n').slice(5)).toEqual([
    '#$ -q long.q',
    '#$ rm -rf x',
    '#$ -P lab',
    '#$ -l h_rt=91',
    '#$ -pe smp 4',
    '#$ -l h_vmem=1048576K',
    '#$ -l gpu=2',
    '',
    "cd '/data/it'\\''s' || exit 125",
    "exec >'/data/o' 2>'/data/e' </dev/null || exit 125",
    '',
    'true',
    '',
  ]);
});

test.each([['-t 1-9'], ['-q all.q -sync y']])('a job is one job: %s is refused', (option) => {
  expect(() => gridEngineScript({ ...JOB, options: [option] }, NAMES)).toThrow('makes many jobs of one');
});
