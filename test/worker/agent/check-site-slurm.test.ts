import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { toSite } from '../../../src/ground/protocol/site.ts';
import type { CheckItem } from '../../../src/ground/protocol/site-check.ts';
import { checkSite } from '../../../src/worker/agent/check-site.ts';
import { missingSlurm, type SlurmCluster, startSlurm } from '../../support/slurm.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

describe.skipIf(missingSlurm())('site test with Slurm', () => {
  let cluster: SlurmCluster;
  beforeAll(async () => {
    cluster = await startSlurm({ own: 'check' });
  });
  afterAll(() => cluster?.stop());

  /** What it says of the scheduler, when it may take so long to connect. */
  async function scheduler(timeout = '20s'): Promise<CheckItem | undefined> {
    const { machines } = await checkSite(toSite({ name: 'here', mechanism: 'slurm_local', timeout }), {
      environment: { ...process.env, ...cluster.environment },
      controlDirectory: temporaryDirectory(),
      ask: async () => undefined,
    });
    return machines[0]?.checks.find(({ check }) => check === 'scheduler');
  }

  test('one that answers passes, with its version', async () => {
    expect(await scheduler()).toMatchObject({
      outcome: 'passed',
      detail: expect.stringMatching(/^slurm \d+\.\S+: controller answers/),
    });
  });

  test('one that hangs is given up in the time of the site', async () => {
    cluster.pause();
    const began = performance.now();
    try {
      expect(await scheduler('2s')).toMatchObject({ outcome: 'failed', detail: expect.stringContaining('slurm') });
      expect(performance.now() - began).toBeLessThan(15_000);
    } finally {
      cluster.resume();
    }
  });

  test('one whose controller is gone fails, with what to do', async () => {
    await cluster.stopController();
    expect(await scheduler()).toMatchObject({
      outcome: 'failed',
      detail: expect.stringContaining("Slurm's controller does not answer"),
      advice: expect.stringContaining('ask those who run it'),
    });
  });
});
