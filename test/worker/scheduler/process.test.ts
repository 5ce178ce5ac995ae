import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { startTimeOf } from '../../../src/worker/runner/marked-processes.ts';
import { createProcessScheduler, type ProcessOptions } from '../../../src/worker/scheduler/process/process.ts';
import type { BatchId, BatchRef } from '../../../src/worker/scheduler/scheduler.ts';
import { missing } from '../../support/debian.ts';
import { countSleeps, pidsOf } from '../../support/processes.ts';
import { makeUser } from '../../support/ssh-accounts.ts';
import { waitUntil } from '../../support/wait-until.ts';
import { type Bench, bring, endOf, newJob, start, statusOf, untilState, userDirectory } from './bench.ts';
import { keepsTheContract, oddSeconds } from './contract.ts';
import { shellOf } from './user-shell.ts';

const isRoot = process.getuid?.() === 0;
if (process.env.CI && !isRoot) throw new Error('the tests with processes of another user take root');

function newBench(options: ProcessOptions = {}): Bench {
  const { user } = makeUser('/bin/bash');
  return {
    scheduler: createProcessScheduler({ graceSeconds: 2, ...options }),
    shell: shellOf(user, {}, options.interpreter),
    user,
  };
}

/** Its supervisor, and when that began. */
function supervisorOf(job: BatchRef): { pid: number; startTime: string } {
  const [pid = '', startTime = ''] = job.id.split(':');
  return { pid: Number(pid), startTime };
}

describe.skipIf(!isRoot)('plain processes', () => {
  let bench: Bench;
  beforeAll(() => {
    bench = newBench();
  });
  keepsTheContract(() => bench);

  test('many submits of one name at once start it once, and all answer with its id', async () => {
    const job = newJob(bench, 'echo ran >>runs; sleep 300');
    const path = bring(bench, job);
    const submits = Array.from({ length: 8 }, () => bench.scheduler.submit(bench.shell, job, path));
    const ids = new Set((await Promise.all(submits)).map((result) => (result.ok ? result.id : result.reason)));
    expect(ids.size).toBe(1);
    const ref = { ...job, id: [...ids][0] as BatchId };
    onTestFinished(() => bench.scheduler.cancel(bench.shell, [ref]).then(() => undefined));
    await waitUntil('it to run', () => existsSync(join(job.directory, 'runs')));
    expect(await bench.scheduler.submit(bench.shell, job, path)).toEqual({ ok: true, id: ref.id });
    expect(readFileSync(join(job.directory, 'runs'), 'utf8')).toBe('ran\n');
  });

  test('a submit after the end answers with the first id and runs nothing again', async () => {
    const job = newJob(bench, 'echo ran >>runs');
    const path = bring(bench, job);
    const first = await bench.scheduler.submit(bench.shell, job, path);
    if (!first.ok) throw new Error(first.reason);
    await endOf(bench, { ...job, id: first.id });
    expect(await bench.scheduler.submit(bench.shell, job, path)).toEqual(first);
    expect(readFileSync(join(job.directory, 'runs'), 'utf8')).toBe('ran\n');
  });

  test('children that left the session are cancelled too', async () => {
    const seconds = oddSeconds();
    const job = await start(bench, `(setsid sh -c 'sleep ${seconds} & setsid sleep ${seconds} & exit 0' &); sleep 300`);
    await waitUntil('the children to run', () => countSleeps(seconds) === 2);
    await bench.scheduler.cancel(bench.shell, [job]);
    expect(countSleeps(seconds)).toBe(0);
  });

  test('what a job leaves behind is ended before its end is told', async () => {
    const seconds = oddSeconds();
    const job = await start(bench, `setsid sleep ${seconds} & exit 3`);
    expect(await endOf(bench, job)).toMatchObject({ exitCode: 3 });
    expect(countSleeps(seconds)).toBe(0);
  });

  test('what it submitted to a Slurm of the same machine has its environment, and is left alone', async () => {
    const [theirs, own] = [oddSeconds(), oddSeconds()];
    const script = `(SLURM_JOB_ID=9 setsid sleep ${theirs} &); (setsid sleep ${own} &); until [ -e go ]; do sleep 0.1; done`;
    const job = await start(bench, script);
    await waitUntil('both to run', () => countSleeps(theirs) + countSleeps(own) === 2);
    const [pid = 0] = pidsOf((line) => line === `sleep\0${theirs}\0`);
    onTestFinished(() => void process.kill(pid, 'SIGKILL'));
    writeFileSync(join(job.directory, 'go'), '');
    await endOf(bench, job);
    expect([countSleeps(own), countSleeps(theirs)]).toEqual([0, 1]);
  });

  test('a number that another process has since is gone, and that process is left alone', async () => {
    // The same user's: only then could it be killed at all.
    const asUser = [`--reuid=${bench.user}`, '--clear-groups', 'sleep', oddSeconds()];
    const other = spawn('setpriv', asUser);
    await once(other, 'spawn');
    onTestFinished(() => void other.kill('SIGKILL'));
    const job = await start(bench, 'exit 0');
    await endOf(bench, job);
    const [, ...rest] = job.id.split(':');
    const reused: BatchRef = { ...job, directory: '/nonexistent', id: [other.pid, ...rest].join(':') as BatchId };
    expect(await statusOf(bench, reused)).toEqual({ state: 'gone' });
    expect([...(await bench.scheduler.cancel(bench.shell, [reused])).values()]).toEqual(['already-gone']);
    expect(startTimeOf(other.pid!)).toBeDefined();
  });

  test('after a restart of the machine a job is gone, its end is the lost machine, and nothing is killed for it', async () => {
    const job = await start(bench, 'sleep 300');
    const [pid, startTime, , host] = job.id.split(':');
    const before: BatchRef = {
      ...job,
      directory: '/nonexistent',
      id: [pid, startTime, '00000000-0000', host].join(':') as BatchId,
    };
    expect(await statusOf(bench, before)).toEqual({ state: 'gone' });
    expect(await bench.scheduler.outcome(bench.shell, before)).toMatchObject({ cause: 'node-lost' });
    expect([...(await bench.scheduler.cancel(bench.shell, [before])).values()]).toEqual(['already-gone']);
    expect((await statusOf(bench, job)).state).toBe('running');
  });

  test('on another machine of the same name nothing is said about a job, and nothing done to it', async () => {
    const job = await start(bench, 'sleep 300');
    const [pid, startTime, boot] = job.id.split(':');
    const elsewhere: BatchRef = { ...job, id: [pid, startTime, boot, 'login-2'].join(':') as BatchId };
    expect(await statusOf(bench, elsewhere)).toMatchObject({
      state: 'unknown',
      words: expect.stringContaining('login-2'),
    });
    const outcome = [...(await bench.scheduler.cancel(bench.shell, [elsewhere])).values()][0];
    expect(outcome).toMatchObject({ failed: expect.stringContaining('another machine') });
    expect((await statusOf(bench, job)).state).toBe('running');
  });

  test('a job that was killed with its supervisor ended without a word', async () => {
    const job = await start(bench, 'sleep 300');
    const { pid } = supervisorOf(job);
    process.kill(pid, 'SIGKILL');
    // Its body lives: the job does.
    expect((await statusOf(bench, job)).state).toBe('running');
    expect([...(await bench.scheduler.cancel(bench.shell, [job])).values()]).toEqual(['cancelled']);
    expect(await statusOf(bench, job)).toEqual({ state: 'gone' });
    expect(await bench.scheduler.outcome(bench.shell, job)).toMatchObject({ cause: 'cancelled' });
  });

  test('a job runs on when its directory vanishes, and can be cancelled', async () => {
    const seconds = oddSeconds();
    const job = await start(bench, `cd /; sleep ${seconds}`);
    await waitUntil('it to run', () => countSleeps(seconds) === 1);
    rmSync(job.directory, { recursive: true });
    expect((await statusOf(bench, job)).state).toBe('running');
    expect([...(await bench.scheduler.cancel(bench.shell, [job])).values()]).toEqual(['cancelled']);
    expect(countSleeps(seconds)).toBe(0);
  });

  test('its processes are told with their commands, the supervisor first', async () => {
    const seconds = oddSeconds();
    const job = await start(bench, `setsid sleep ${seconds} & sleep ${seconds}; :`);
    await waitUntil('it to run', () => countSleeps(seconds) === 2);
    const before = bench.shell.commands;
    const { processes, rssBytes } = (await bench.scheduler.processes(bench.shell, [job])).get(job.id)!;
    expect(bench.shell.commands - before).toBe(1);
    expect(processes[0]?.pid).toBe(supervisorOf(job).pid);
    expect(processes.filter(({ command }) => command === `sleep ${seconds}`)).toHaveLength(2);
    expect(rssBytes).toBeGreaterThan(100_000);
  });

  test('a supervisor that is told to stop ends its job and writes that down', async () => {
    const job = await start(bench, 'sleep 300');
    await untilState(bench, job, 'running');
    await waitUntil('the body', () => existsSync(join(job.directory, `.${job.name}`, 'body')));
    process.kill(supervisorOf(job).pid, 'SIGTERM');
    expect(await endOf(bench, job)).toMatchObject({ cause: 'cancelled' });
  });

  test('a job cannot be started in a directory that may not be written, and the refusal says so', async () => {
    const job = newJob(bench, 'exit 0', { directory: '/proc', stdout: '/dev/null', stderr: '/dev/null' });
    const elsewhere = newJob(bench, 'exit 0', { directory: userDirectory(bench.user) });
    const result = await bench.scheduler.submit(bench.shell, job, bring(bench, elsewhere));
    expect(result).toMatchObject({ ok: false, reason: expect.stringContaining('written') });
  });
});

const BUSYBOX = { program: '/usr/bin/busybox', packages: ['busybox'] };
const SHELLS: Array<[string, ProcessOptions, string | undefined]> = [
  ['dash', { interpreter: ['/bin/dash'] }, undefined],
  ['bash', { interpreter: ['/bin/bash'] }, undefined],
  ['busybox', { interpreter: ['/usr/bin/busybox', 'sh'] }, isRoot ? missing(BUSYBOX) : 'not root'],
  ['a machine without /proc', { proc: '/nonexistent' }, undefined],
];

describe.skipIf(!isRoot).each(SHELLS)('plain processes by %s', (_, options, lacking) => {
  let bench: Bench;
  beforeAll(() => {
    bench = newBench(options);
  });

  test.skipIf(lacking)('end with their code or signal', async () => {
    expect(await endOf(bench, await start(bench, 'exit 7'))).toMatchObject({ cause: 'failed', exitCode: 7 });
    expect(await endOf(bench, await start(bench, 'kill -KILL $$'))).toMatchObject({
      cause: 'failed',
      signal: 'SIGKILL',
    });
  });

  test.skipIf(lacking)('are cancelled, also when they ignore TERM', async () => {
    const seconds = oddSeconds();
    const job = await start(bench, `trap '' TERM; sleep ${seconds} & while :; do wait; done`);
    await waitUntil('it to run', () => countSleeps(seconds) === 1);
    expect([...(await bench.scheduler.cancel(bench.shell, [job])).values()]).toEqual(['cancelled']);
    expect(countSleeps(seconds)).toBe(0);
    expect(await endOf(bench, job)).toMatchObject({ cause: 'cancelled' });
  });

  test.skipIf(lacking)('are held to their time and memory', async () => {
    const long = await start(bench, 'sleep 300', { wallTimeSeconds: 2 });
    const large = await start(bench, 'exec dd if=/dev/zero of=/dev/null bs=200M count=100000', { memoryBytes: 1e8 });
    expect(await endOf(bench, long)).toMatchObject({ cause: 'time-limit' });
    expect(await endOf(bench, large)).toMatchObject({ cause: 'memory-limit' });
  });

  test.skipIf(lacking)('tell what they use', async () => {
    const job = await start(bench, 'while :; do :; done');
    await expect
      .poll(async () => (await bench.scheduler.processes(bench.shell, [job])).get(job.id)?.cpuSeconds, {
        timeout: 20_000,
      })
      .toBeGreaterThan(0);
    const { processes } = (await bench.scheduler.processes(bench.shell, [job])).get(job.id)!;
    expect(processes[0]?.pid).toBe(supervisorOf(job).pid);
    expect(processes.length).toBeGreaterThan(1);
  });
});
