import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { jobBody } from '../../../src/worker/agent/job-script.ts';
import { pidsOf } from '../../support/processes.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { waitUntil } from '../../support/wait-until.ts';

const SHELLS = [['/bin/sh'], ['/bin/bash', '--posix'], ['/bin/busybox', 'sh']].filter(([program = '']) =>
  existsSync(program),
);
const started: Started[] = [];
afterEach(() => {
  for (const { child, mark } of started.splice(0))
    for (const pid of [child.pid as number, ...pidsOf((command) => command.includes(mark))]) kill(pid);
});

interface Started {
  readonly child: ChildProcess;
  readonly directory: string;
  readonly mark: string;
  /** Numbers of its `sleep MARK<digit>`. */
  sleeps(digit: number): number[];
  guards(): number[];
}

/** A job as a batch system starts it, in a session of its own. MARK in its command is a number that nobody else has. */
function startJob(
  command: string,
  { shell = ['/bin/sh'], env = {} }: { shell?: string[]; env?: object } = {},
): Started {
  const mark = String(1_000_000 + (randomBytes(4).readUInt32BE() % 1_000_000_000));
  const directory = temporaryDirectory();
  const name = `pilotage-${mark}`;
  const words = ['sh', '-c', command.replaceAll('MARK', mark)];
  const body = jobBody({ name, directory, work: directory, setup: [], environment: {}, command: words });
  const [program = '', ...rest] = shell;
  const child = spawn(program, [...rest, '-c', body], {
    detached: true,
    stdio: 'ignore',
    env: { PATH: process.env.PATH, ...env },
  });
  const job: Started = {
    child,
    directory,
    mark,
    sleeps: (digit) => pidsOf((line) => line === `sleep\0${mark}${digit}\0`),
    guards: () => pidsOf((line) => line.endsWith(`\0guard\0${name}\0`)),
  };
  started.push(job);
  return job;
}

function kill(pid: number | undefined): void {
  try {
    if (pid) process.kill(pid, 'SIGKILL');
  } catch {
    // It is gone.
  }
}

const run = (job: Started, ...digits: number[]) =>
  waitUntil(`sleeps ${digits} of job ${job.mark}`, () => digits.every((digit) => job.sleeps(digit).length > 0));

describe.each(SHELLS.map((shell) => ({ shell })))('a job of $shell', ({ shell }) => {
  test('whose script is killed leaves nothing: neither what is deaf, nor what goes on starting more, nor what left its session', async () => {
    const job = startJob(
      `trap '' TERM HUP; setsid sh -c 'while :; do sleep MARK1; done' & (while :; do sleep MARK2; done) & sleep MARK3; sleep MARK4`,
      { shell },
    );
    await run(job, 1, 2, 3);
    expect(job.guards()).toHaveLength(1);
    // As a batch system does from one look: leaves first. What came into being since it does not see.
    kill(job.sleeps(3)[0]);
    await run(job, 4);
    kill(job.child.pid);
    await waitUntil('all of it to be gone', () => pidsOf((line) => line.includes(job.mark)).length === 0);
  });

  test('that ends by itself is held up by nobody, and what it leaves behind on purpose is not touched', async () => {
    const job = startJob('setsid sleep MARK1 >/dev/null 2>&1 & exit 7', { shell });
    await once(job.child, 'exit');
    expect(readFileSync(path.join(job.directory, 'exit-code'), 'utf8')).toBe('7 \n');
    await waitUntil('its guard to be gone', () => job.guards().length === 0);
    expect(job.sleeps(1)).toHaveLength(1);
    expect(readdirSync(job.directory)).not.toContain('guard');
  });
});

test('what a program submitted as another batch job has its environment, and is left alone', async () => {
  const command = 'SLURM_JOB_ID=8 setsid sleep MARK8 & SLURM_JOB_ID= setsid sleep MARK9 & sleep MARK7';
  const job = startJob(command, { env: { SLURM_JOB_ID: '7' } });
  await run(job, 7, 8, 9);
  kill(job.child.pid);
  await waitUntil('its own to be gone', () => job.sleeps(7).length + job.sleeps(9).length + job.guards().length === 0);
  expect(job.sleeps(8)).toHaveLength(1);
});

test('a job whose name begins alike is another one; and a machine without setsid will do', async () => {
  const bin = temporaryDirectory();
  for (const program of ['sh', 'mkdir', 'uname', 'tr', 'date', 'mkfifo', 'rm', 'grep', 'sleep', 'mv', 'nohup', 'env'])
    symlinkSync(`/usr/bin/${program}`, path.join(bin, program));
  const job = startJob('env PILOTAGE_BATCH_NAME=pilotage-MARK0 sleep MARK8 & sleep MARK7', { env: { PATH: bin } });
  await run(job, 7, 8);
  kill(job.child.pid);
  await waitUntil('its own to be gone', () => job.sleeps(7).length + job.guards().length === 0);
  expect(job.sleeps(8)).toHaveLength(1);
});

test('where pipes have no names a job runs without a guard', async () => {
  const bin = temporaryDirectory();
  for (const program of ['sh', 'mkdir', 'uname', 'tr', 'date', 'mv', 'sleep'])
    symlinkSync(`/usr/bin/${program}`, path.join(bin, program));
  const job = startJob('exit 3', { env: { PATH: bin } });
  await once(job.child, 'exit');
  expect(readFileSync(path.join(job.directory, 'exit-code'), 'utf8')).toBe('3 \n');
});
