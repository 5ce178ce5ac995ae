import { beforeAll, describe, expect, test } from 'vitest';
import { createGridEngine } from '../../../src/worker/scheduler/grid-engine/grid-engine.ts';
import { type GridEngineCluster, missingGridEngine, startGridEngine } from '../../support/grid-engine.ts';
import { type Bench, bring, endOf, newJob, start, statusOf, untilState } from './bench.ts';
import { keepsTheContract, unknown } from './contract.ts';
import { keepsTheQueueContract } from './queue-contract.ts';
import { shellOf } from './user-shell.ts';

describe.skipIf(missingGridEngine())('Grid Engine', () => {
  let cluster: GridEngineCluster;
  let bench: Bench;
  beforeAll(async () => {
    cluster = await startGridEngine();
    bench = { scheduler: createGridEngine(), shell: shellOf(cluster.user), user: cluster.user };
  });
  keepsTheContract(() => bench);
  keepsTheQueueContract(() => bench, { afterId: (id) => `-hold_jid ${id}` });

  test('a job in an error state is hopeless, with the reason', async () => {
    const job = await start(bench, 'exit 0', { options: ['-wd /nonexistent/directory'] });
    const status = (): ReturnType<typeof statusOf> => statusOf(bench, job);
    const expected = { state: 'pending', hopeless: true, reason: expect.stringContaining("can't chdir") };
    await expect.poll(status, { timeout: 30_000 }).toMatchObject(expected);
  });

  test('a program that was refused memory and gave up ended for its memory limit', async () => {
    const body = 'exec dd if=/dev/zero of=/dev/null bs=300M count=1';
    const job = await start(bench, body, { memoryBytes: 150 * 1024 * 1024 });
    expect(await endOf(bench, job)).toMatchObject({ cause: 'memory-limit' });
  });

  test('a master that hangs answers nothing within the time limit, and later as if nothing had been', async () => {
    const impatient: Bench = { ...bench, scheduler: createGridEngine({ timeoutMs: 2000 }) };
    const job = await start(bench, 'sleep 300');
    await untilState(bench, job, 'running');
    const other = newJob(bench, 'exit 0');
    const path = bring(bench, other);
    cluster.pause();
    const before = performance.now();
    try {
      await expect(impatient.scheduler.poll(bench.shell, [job])).rejects.toThrow(/no answer|no end/);
      await expect(impatient.scheduler.submit(bench.shell, other, path)).rejects.toThrow(/no answer|no end/);
    } finally {
      cluster.resume();
    }
    expect(performance.now() - before).toBeLessThan(8000);
    expect((await untilState(bench, job, 'running')).state).toBe('running');
  });

  test('a master that is not there answers nothing, and nothing is taken for refused', async () => {
    // Nobody listens at that port.
    const nobody: Bench = { ...bench, shell: shellOf(cluster.user, { SGE_QMASTER_PORT: '1' }) };
    const job = newJob(bench, 'exit 0');
    const silence = { code: 'scheduler-silent' };
    const submitted = bench.scheduler.submit(nobody.shell, job, bring(bench, job));
    await expect(submitted).rejects.toMatchObject(silence);
    await expect(statusOf(nobody, unknown())).rejects.toMatchObject(silence);
    await expect(bench.scheduler.find(nobody.shell, [job])).rejects.toMatchObject(silence);
    await expect(bench.scheduler.cancel(nobody.shell, [unknown()])).rejects.toMatchObject(silence);
    expect(await bench.scheduler.check(nobody.shell)).toMatchObject({ ok: false });
  });

  test('a login that does not know where Grid Engine is learns what to look at', async () => {
    const lost = shellOf(cluster.user, { SGE_ROOT: '/nonexistent', SGE_CELL: 'default' });
    const result = await bench.scheduler.check(lost);
    expect(result).toMatchObject({ ok: false, advice: expect.stringContaining('SGE_ROOT') });
  });
});
