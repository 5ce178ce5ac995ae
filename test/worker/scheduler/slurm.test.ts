import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createSlurm } from '../../../src/worker/scheduler/slurm/slurm.ts';
import { missingSlurm, type SlurmCluster, startSlurm } from '../../support/slurm.ts';
import { waitUntil } from '../../support/wait-until.ts';
import { type Bench, bring, endOf, newJob, start, statusOf, untilState } from './bench.ts';
import { keepsTheContract } from './contract.ts';
import { keepsTheQueueContract } from './queue-contract.ts';
import { shellOf } from './user-shell.ts';

function benchOf(cluster: SlurmCluster, timeoutMs?: number): Bench {
  const { user, environment } = cluster;
  return { scheduler: createSlurm(timeoutMs ? { timeoutMs } : {}), shell: shellOf(user, environment), user };
}

const missing = missingSlurm();

describe.skipIf(missing)('Slurm', () => {
  let bench: Bench;
  beforeAll(async () => {
    bench = benchOf(await startSlurm());
  });
  keepsTheContract(() => bench);
  keepsTheQueueContract(() => bench, { afterId: (id) => `--dependency=afterany:${id}` });

  test('a job after one that failed, and waits for its success, is hopeless', async () => {
    const failed = await start(bench, 'exit 1');
    await endOf(bench, failed);
    const job = await start(bench, 'exit 0', { options: [`--dependency=afterok:${failed.id}`] });
    const status = (): ReturnType<typeof statusOf> => statusOf(bench, job);
    await expect
      .poll(status, { timeout: 30_000 })
      .toMatchObject({ hopeless: true, reason: 'DependencyNeverSatisfied' });
  });

  test('a job whose files cannot be opened never started', async () => {
    const job = await start(bench, 'exit 0', { stderr: '/nonexistent/stderr' });
    expect(await endOf(bench, job)).toMatchObject({ cause: 'start-failed' });
  });

  test('what a user has in the environment of sbatch does not hide the job', async () => {
    const environment = {
      SBATCH_JOB_NAME: 'other',
      SBATCH_OUTPUT: '/nonexistent',
      SQUEUE_FORMAT: '%i',
      SQUEUE_STATES: 'PD',
    };
    const shell = shellOf(bench.user, environment);
    const job = await start({ ...bench, shell }, 'exit 0');
    expect(await endOf({ ...bench, shell }, job)).toMatchObject({ cause: 'completed' });
  });
});

describe.skipIf(missing)('a Slurm that fails', () => {
  let cluster: SlurmCluster;
  let bench: Bench;
  beforeAll(async () => {
    cluster = await startSlurm({ own: 'faults', minJobAgeSeconds: 5 });
    bench = benchOf(cluster, 4000);
  });
  afterAll(() => cluster?.stop());

  test('a controller that hangs answers nothing within the time limit, and later as if nothing had been', async () => {
    const job = await start(bench, 'sleep 300');
    await untilState(bench, job, 'running');
    cluster.pause();
    const before = performance.now();
    try {
      await expect(bench.scheduler.poll(bench.shell, [job])).rejects.toMatchObject({ code: 'scheduler-silent' });
      await expect(bench.scheduler.cancel(bench.shell, [job])).rejects.toMatchObject({ code: 'scheduler-silent' });
      const other = newJob(bench, 'exit 0');
      const submitted = bench.scheduler.submit(bench.shell, other, bring(bench, other));
      await expect(submitted).rejects.toMatchObject({ code: 'scheduler-silent' });
      expect(await bench.scheduler.check(bench.shell)).toMatchObject({ ok: false });
    } finally {
      cluster.resume();
    }
    expect(performance.now() - before).toBeLessThan(20_000);
    expect(await untilState(bench, job, 'running')).toMatchObject({ state: 'running' });
  });

  test('a controller that is gone answers nothing, and knows its jobs when it is back', async () => {
    const job = await start(bench, 'exit 7');
    const running = await start(bench, 'sleep 300');
    await untilState(bench, running, 'running');
    // It writes its jobs down every few seconds, and at a clean end: after a kill the youngest are gone.
    await cluster.stopController('SIGTERM');
    await expect(bench.scheduler.poll(bench.shell, [job])).rejects.toMatchObject({ code: 'scheduler-silent' });
    await expect(bench.scheduler.find(bench.shell, [job])).rejects.toMatchObject({ code: 'scheduler-silent' });
    const other = newJob(bench, 'exit 0');
    const submitted = bench.scheduler.submit(bench.shell, other, bring(bench, other));
    await expect(submitted).rejects.toMatchObject({ code: 'scheduler-silent' });
    await cluster.startController();
    expect((await untilState(bench, running, 'running')).state).toBe('running');
  });

  test('a job whose record has aged out is gone, and nothing is known of its end', async () => {
    const job = await start(bench, 'exit 0');
    await untilState(bench, job, 'gone', 60);
    expect(await bench.scheduler.outcome(bench.shell, job)).toBeUndefined();
    expect((await bench.scheduler.cancel(bench.shell, [job])).get(job.id)).toBe('already-gone');
  });

  test('a job that was put back into the queue waits under the same id', async () => {
    const job = await start(bench, 'sleep 300', { options: ['--requeue'] });
    await untilState(bench, job, 'running');
    execFileSync('scontrol', ['requeuehold', job.id], { env: { ...process.env, ...cluster.environment } });
    const status = await waitUntil('it to wait again', async () => {
      const seen = await statusOf(bench, job);
      return seen.state === 'pending' ? seen : undefined;
    });
    expect(status).toMatchObject({ state: 'pending' });
    expect((await bench.scheduler.find(bench.shell, [job])).get(job.name)).toBe(job.id);
  });
});
