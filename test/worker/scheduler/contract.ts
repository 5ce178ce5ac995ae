import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { batchName } from '../../../src/worker/scheduler/batch-name.ts';
import type { BatchId, BatchRef } from '../../../src/worker/scheduler/scheduler.ts';
import type { Shell } from '../../../src/worker/scheduler/shell.ts';
import { countSleeps } from '../../support/processes.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { waitUntil } from '../../support/wait-until.ts';
import { type Bench, bring, endOf, newJob, start, statusOf, untilState, userDirectory } from './bench.ts';

/** Whatever may stand in a path on Linux. A path that a shell looks at makes a file `hacked`. */
const HOSTILE = 'a b"c\'d $(touch hacked) `touch hacked` ;touch hacked; %j %% \\n\\ x:y,z &\n#$ -N other\n* ?';

/** More memory than the limit, in two processes of which each stays below it. */
const HOG = 'for i in 1 2; do dd if=/dev/zero of=/dev/null bs=100M count=100000 & done; wait; exit 1';
const HOG_LIMIT = 150 * 1024 * 1024;

/** A number of seconds that nobody else sleeps. */
export function oddSeconds(): string {
  return `${20_000 + Math.floor(Math.random() * 1_000_000)}`;
}

const DEAF = (seconds: string): string => `trap '' TERM
sleep ${seconds} & while :; do wait; done`;

/** What any scheduler promises. To be called in a describe block. */
export function keepsTheContract(bench: () => Bench): void {
  test('a job runs in its directory, writes its files and ends with its exit code', async () => {
    const good = await start(bench(), 'pwd; echo words >&2; [ -z "$(cat)" ]');
    const bad = await start(bench(), 'exit 7');
    expect(await endOf(bench(), good)).toMatchObject({ cause: 'completed', exitCode: 0 });
    expect(await endOf(bench(), bad)).toMatchObject({ cause: 'failed', exitCode: 7 });
    expect(readFileSync(join(good.directory, 'stdout'), 'utf8')).toBe(`${good.directory}\n`);
    expect(readFileSync(join(good.directory, 'stderr'), 'utf8')).toBe('words\n');
  });

  test('a job that a signal ended has that signal, not an exit code', async () => {
    const ending = await endOf(bench(), await start(bench(), 'kill -SEGV $$'));
    expect(ending).toMatchObject({ cause: 'failed', signal: 'SIGSEGV' });
    expect(ending).not.toHaveProperty('exitCode');
  });

  test('a running job says so, and where', async () => {
    const job = await start(bench(), 'sleep 300');
    expect(await untilState(bench(), job, 'running')).toHaveProperty('node');
    const found = await waitUntil('its processes', async () => {
      const all = await bench().scheduler.processes(bench().shell, [job]);
      return all.get(job.id);
    });
    expect(found.elapsedSeconds).toBeGreaterThanOrEqual(0);
    expect(await bench().scheduler.outcome(bench().shell, job)).toBeUndefined();
  });

  test('no character of a directory, a file name or an option is ever run by a shell', async () => {
    const directory = userDirectory(bench().user, HOSTILE);
    const stdout = join(directory, `out ${HOSTILE.replaceAll('/', '')}`);
    const job = await start(bench(), 'pwd; exit 3', {
      directory,
      stdout,
      stderr: join(directory, '$(touch hacked)err'),
    });
    expect(await endOf(bench(), job)).toMatchObject({ cause: 'failed', exitCode: 3 });
    expect(readFileSync(stdout, 'utf8')).toBe(`${directory}\n`);
    expect(existsSync(join(directory, 'hacked'))).toBe(false);
    expect(await bench().scheduler.find(bench().shell, [job])).toEqual(new Map([[job.name, job.id]]));
  });

  test('an option that goes over the end of its line stays an option', async () => {
    const trace = join(temporaryDirectory(), 'hacked');
    const job = newJob(bench(), 'exit 0', { options: [`$(touch ${trace})\ntouch ${trace}\r\ntouch ${trace}`] });
    const result = await bench().scheduler.submit(bench().shell, job, bring(bench(), job));
    if (result.ok) await endOf(bench(), { ...job, id: result.id });
    expect(existsSync(trace)).toBe(false);
  });

  test('a running job is cancelled with all it started', async () => {
    const seconds = oddSeconds();
    const job = await start(bench(), `sleep ${seconds} & sh -c 'sleep ${seconds}; :'`);
    await waitUntil('it to run', () => countSleeps(seconds) === 2);
    expect(await bench().scheduler.cancel(bench().shell, [job])).toEqual(new Map([[job.id, 'cancelled']]));
    expect(await endOf(bench(), job)).toMatchObject({ cause: 'cancelled' });
    expect(countSleeps(seconds)).toBe(0);
  });

  test('a job that ignores TERM is ended all the same', async () => {
    const seconds = oddSeconds();
    const job = await start(bench(), DEAF(seconds));
    await waitUntil('it to run', () => countSleeps(seconds) === 1);
    expect((await bench().scheduler.cancel(bench().shell, [job])).get(job.id)).toBe('cancelled');
    expect(await endOf(bench(), job)).toMatchObject({ cause: 'cancelled' });
    expect(countSleeps(seconds)).toBe(0);
  });

  test('cancelling what is gone is no error', async () => {
    const ended = await start(bench(), 'exit 0');
    await endOf(bench(), ended);
    const outcomes = await bench().scheduler.cancel(bench().shell, [ended, unknown()]);
    expect([...outcomes.values()]).toEqual(['already-gone', 'already-gone']);
  });

  test('what the batch system does not know is gone, and so is an id that belongs to another name', async () => {
    const job = await start(bench(), 'sleep 300');
    await untilState(bench(), job, 'running');
    const stranger = unknown();
    const renamed: BatchRef = { ...job, name: batchName('somebody-else'), directory: stranger.directory };
    expect(await statusOf(bench(), stranger)).toEqual({ state: 'gone' });
    if (bench().scheduler.name === 'process') return;
    expect(await statusOf(bench(), renamed)).toEqual({ state: 'gone' });
    expect([...(await bench().scheduler.cancel(bench().shell, [renamed])).values()]).toEqual(['already-gone']);
    expect((await statusOf(bench(), job)).state).toBe('running');
  });

  test('jobs are found by name while they run and after they ended, others are not', async () => {
    const running = await start(bench(), 'sleep 300');
    const ended = await start(bench(), 'exit 0');
    await endOf(bench(), ended);
    const before = bench().shell.commands;
    const found = await bench().scheduler.find(bench().shell, [running, ended, unknown()]);
    expect(bench().shell.commands - before).toBe(1);
    expect(found).toEqual(new Map([running, ended].map(({ name, id }) => [name, id])));
  });

  test('a job over its memory ends for that reason', async () => {
    const job = await start(bench(), HOG, { memoryBytes: HOG_LIMIT });
    expect(await endOf(bench(), job)).toMatchObject({ cause: 'memory-limit' });
  });

  // Slurm counts whole minutes and looks every half: up to 90 s.
  test('a job over its time ends for that reason, with all it started', { timeout: 180_000 }, async () => {
    const seconds = oddSeconds();
    const job = await start(bench(), `sleep ${seconds}`, { wallTimeSeconds: 2 });
    expect(await endOf(bench(), job, 150)).toMatchObject({ cause: 'time-limit' });
    expect(countSleeps(seconds)).toBe(0);
  });

  test('a refused job says why, and nothing was started', async () => {
    const job = newJob(bench(), 'exit 0', { options: ['-q no-such-queue', '--partition=no-such-queue'] });
    const path = bring(bench(), job);
    if (bench().scheduler.name === 'process') rmSync(job.directory, { recursive: true });
    const result = await bench().scheduler.submit(bench().shell, job, path);
    expect(result).toMatchObject({ ok: false, reason: expect.stringMatching(/no-such-queue|directory/) });
    expect(await bench().scheduler.find(bench().shell, [job])).toEqual(new Map());
  });

  test('a hundred jobs are asked about by one command, and cancelled by two', { timeout: 180_000 }, async () => {
    const directory = userDirectory(bench().user);
    const jobs: BatchRef[] = [];
    const one = async (): Promise<void> => {
      while (jobs.length < 100) {
        const at = jobs.push(unknown()) - 1;
        const files = { stdout: join(directory, `${at}.out`), stderr: join(directory, `${at}.err`) };
        const job = newJob(bench(), 'sleep 300', { directory, ...files });
        const result = await bench().scheduler.submit(bench().shell, job, bring(bench(), job));
        if (result.ok) jobs[at] = { ...job, id: result.id };
      }
    };
    await Promise.all([one(), one(), one(), one()]);
    const before = bench().shell.commands;
    const statuses = await bench().scheduler.poll(bench().shell, jobs);
    expect(bench().shell.commands - before).toBe(1);
    expect(statuses.size).toBe(100);
    for (const status of statuses.values()) expect(['pending', 'running']).toContain(status.state);
    const outcomes = await bench().scheduler.cancel(bench().shell, jobs);
    expect(bench().shell.commands - before).toBeLessThanOrEqual(3);
    expect([...outcomes.values()].filter((outcome) => outcome === 'cancelled')).toHaveLength(100);
  });

  test('what a login prints around the answer changes nothing', async () => {
    const noisy = { ...bench(), shell: { ...bench().shell, commands: 0, run: withBanner(bench().shell) } };
    const job = await start(noisy, 'exit 7');
    expect(await endOf(noisy, job)).toMatchObject({ cause: 'failed', exitCode: 7 });
  });

  test('half an answer proves nothing: it rejects', async () => {
    const job = await start(bench(), 'exit 0');
    const cutting: Shell = {
      run: async (...args) => {
        const result = await bench().shell.run(...args);
        return { ...result, stdout: result.stdout.slice(0, -30) };
      },
    };
    await expect(bench().scheduler.poll(cutting, [job])).rejects.toMatchObject({ code: 'scheduler-silent' });
    await expect(bench().scheduler.find(cutting, [job])).rejects.toMatchObject({ code: 'scheduler-silent' });
  });

  test('a check tells the version and whose account it is', async () => {
    const result = await bench().scheduler.check(bench().shell);
    expect(result).toMatchObject({ ok: true, detail: expect.stringContaining(bench().user) });
  });

  test('a check of a machine without the commands names them', async () => {
    const bare: Shell = { run: (script, options) => bench().shell.run(`PATH=/nonexistent\n${script}`, options) };
    expect(await bench().scheduler.check(bare)).toMatchObject({
      ok: false,
      problem: expect.stringMatching(/sbatch|qsub|awk/),
    });
  });
}

function withBanner(shell: Shell): Shell['run'] {
  return async (...args) => {
    const { exitCode, stdout, stderr } = await shell.run(...args);
    return { exitCode, stdout: `Welcome!\n1234\n${stdout}\n99\n`, stderr: `No mail.\n${stderr}` };
  };
}

export function unknown(): BatchRef {
  return { id: '987654' as BatchId, name: batchName('never-submitted'), directory: '/nonexistent' };
}
