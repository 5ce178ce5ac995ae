import { expect, test } from 'vitest';
import { batchName } from '../../../src/worker/scheduler/batch-name.ts';
import type { BatchEnding, BatchJob } from '../../../src/worker/scheduler/scheduler.ts';
import { readOutcome } from '../../../src/worker/scheduler/slurm/cancel.ts';
import { readUsage } from '../../../src/worker/scheduler/slurm/processes.ts';
import { readElapsed, readQueue } from '../../../src/worker/scheduler/slurm/read-queue.ts';
import { readAccounting, readRecord } from '../../../src/worker/scheduler/slurm/read-records.ts';
import { slurmScript, submitArguments } from '../../../src/worker/scheduler/slurm/script.ts';
import { isHopeless, withStderr } from '../../../src/worker/scheduler/slurm/states.ts';
import { captured } from './captured.ts';

const queue = new Map(readQueue(captured('slurm-squeue.txt')).map((entry) => [entry.name, entry]));

test.each([
  ['pilotage-ok', { state: 'ended', ending: { cause: 'completed', exitCode: 0 } }],
  ['pilotage-seven', { state: 'ended', ending: { cause: 'failed', exitCode: 7 } }],
  ['pilotage-segv', { state: 'ended', ending: { cause: 'failed', signal: 'SIGSEGV' } }],
  ['pilotage-nofile', { state: 'ended', ending: { cause: 'start-failed' } }],
  ['pilotage-deleted', { state: 'ended', ending: { cause: 'cancelled', signal: 'SIGTERM' } }],
  ['pilotage-deaf', { state: 'ending' }],
  ['pilotage-run', { state: 'running', node: 'node1', since: new Date('2026-11-21T20:38:44Z') }],
  ['pilotage-waits', { state: 'pending', hopeless: false, reason: 'Resources' }],
  ['pilotage-huge', { state: 'pending', hopeless: true, reason: 'PartitionConfig' }],
  ['pilotage-long', { state: 'pending', hopeless: true, reason: 'PartitionTimeLimit' }],
  ['pilotage-depends', { state: 'pending', hopeless: true, reason: 'DependencyNeverSatisfied' }],
])('squeue says of %s what it is', (name, status) => {
  expect(queue.get(name)?.status).toMatchObject(status);
});

test('the queue alone does not say why a job was killed', () => {
  expect(queue.get('pilotage-hog')?.status).toEqual({ state: 'ended' });
});

test('a strange name of another job breaks no line but its own', () => {
  expect([...queue.keys()].filter((name) => name.startsWith('pilotage-'))).toHaveLength(12);
  expect([...queue.values()].map(({ id }) => id)).not.toContain('99');
});

test('a state of a newer Slurm is neither an error nor an end', () => {
  const [entry] = readQueue('7|EXPEDITING|None|0|N/A|0:00||pilotage-x|\n');
  expect(entry?.status).toEqual({ state: 'unknown', words: 'Slurm says EXPEDITING (None)' });
});

test.each([
  ['AssocMaxWallDurationPerJobLimit', true],
  ['QOSMaxCpuPerJobLimit', true],
  ['JobHeldAdmin', true],
  ['AssocGrpCpuLimit', false],
  ['QOSMaxJobsPerUserLimit', false],
  ['ReqNodeNotAvail', false],
  ['Dependency', false],
  ['BeginTime', false],
])('waiting for %s is hopeless: %s', (reason, hopeless) => {
  expect(isHopeless(reason)).toBe(hopeless);
});

test.each<[string, Partial<BatchEnding>]>([
  ['pilotage-ok', { cause: 'completed', exitCode: 0 }],
  ['pilotage-seven', { cause: 'failed', exitCode: 7 }],
  ['pilotage-segv', { cause: 'failed', signal: 'SIGSEGV' }],
  ['pilotage-hog', { cause: 'failed', signal: 'SIGKILL' }],
  ['pilotage-nofile', { cause: 'start-failed' }],
  ['pilotage-deaf', { cause: 'cancelled', signal: 'SIGKILL' }],
  ['pilotage-deleted', { cause: 'cancelled', signal: 'SIGTERM' }],
])('sacct says of %s how it ended', (name, ending) => {
  const job = readAccounting(captured('slurm-sacct.txt')).find((one) => one.name === name);
  expect(job?.ending).toMatchObject(ending);
});

test('sacct knows a waiting job, and no end of it', () => {
  const job = readAccounting(captured('slurm-sacct.txt')).find((one) => one.name === 'pilotage-waits');
  expect(job).toMatchObject({ id: '38', state: 'PENDING', ending: undefined });
});

test('the controller says how a job ended, but not of one under another name or one that waits', () => {
  const text = captured('slurm-scontrol.txt');
  expect(readRecord(text, batchName('seven'))).toMatchObject({ cause: 'failed', exitCode: 7 });
  expect(readRecord(text, batchName('sev'))).toBeUndefined();
  expect(readRecord(text, batchName('waits'))).toBeUndefined();
});

test('slurmstepd in the stderr of a killed job tells of its memory; the same words of a program do not', () => {
  const killed = readRecord(captured('slurm-scontrol.txt'), batchName('hog'))!;
  expect(killed).toMatchObject({ cause: 'failed', signal: 'SIGKILL' });
  expect(withStderr(killed, captured('slurm-over-memory.txt'))).toMatchObject({ cause: 'memory-limit' });
  expect(withStderr(killed, 'my program: exceeded memory limit\n')).toEqual(killed);
  const done: BatchEnding = { cause: 'completed', exitCode: 0 };
  expect(withStderr(done, captured('slurm-over-memory.txt'))).toEqual(done);
});

test('scancel says of each job whether there was something to cancel', () => {
  const words = captured('slurm-scancel.txt');
  expect(['38', '30', '999'].map((id) => readOutcome(words, id))).toEqual([
    'cancelled',
    'already-gone',
    'already-gone',
  ]);
  expect(readOutcome('scancel: error: Kill job error on job id 5: Access/permission denied', '5')).toEqual({
    failed: expect.stringContaining('denied'),
  });
});

test('sstat tells what the batch steps use', () => {
  expect(readUsage(captured('slurm-sstat.txt'))).toEqual(new Map([['36', { cpuSeconds: 0, rssBytes: 1276 * 1024 }]]));
});

test.each([
  ['0:03', 3],
  ['1:02:03', 3723],
  ['2-01:00:00', 176_400],
  ['INVALID', undefined],
])('%s is an elapsed time', (text, seconds) => {
  expect(readElapsed(text)).toBe(seconds);
});

const JOB: BatchJob = {
  name: batchName('a.1'),
  directory: '/data/100%',
  body: 'true',
  stdout: '/data/100%/out',
  stderr: '/data/back\\slash %j',
  wallTimeSeconds: 61,
  cpus: 2,
  memoryBytes: 1_000_000,
  gpus: 1,
  options: ['#SBATCH --account=a b', '', '--qos=x\nrm -rf y', '# a remark'],
};

test('the script holds the site options as comments, before what the job asks for', () => {
  expect(slurmScript(JOB).split('\n')).toEqual([
    '#!/bin/sh',
    '#SBATCH --no-requeue',
    '#SBATCH --nodes=1',
    '#SBATCH --ntasks=1',
    '#SBATCH --account=a b',
    '#SBATCH --qos=x',
    '#SBATCH rm -rf y',
    '#SBATCH --time=2',
    '#SBATCH --cpus-per-task=2',
    '#SBATCH --mem=977K',
    '#SBATCH --gpus=1',
    '',
    'true',
    '',
  ]);
});

test('the names of files are patterns that stand for themselves', () => {
  expect(submitArguments(JOB).slice(1)).toEqual([
    '--job-name=pilotage-a.1',
    '--chdir=/data/100%',
    '--output=/data/100%%/out',
    '--error=/data/back\\\\slash %j',
  ]);
});

test.each([['--array=1-9'], ['-a 1-9'], ['-p main --wait'], ['-W']])('a job is one job: %s is refused', (option) => {
  expect(() => slurmScript({ ...JOB, options: [option] })).toThrow('makes many jobs of one');
});
