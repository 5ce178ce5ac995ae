import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { routes } from '../../../src/ground/protocol/routes.ts';
import type { SiteConfig } from '../../../src/ground/protocol/site.ts';
import { clientOf } from '../../support/api.ts';
import { type RunningServer, startServer } from '../../support/running-server.ts';
import { jobClient, startTestAgent } from '../../support/site-agent.ts';
import { missingPlaces, openPlaces, type Place, type Places } from '../../support/site-places.ts';
import { missingSlurm, type SlurmCluster, startSlurm } from '../../support/slurm.ts';

vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

let pool: RunningServer;
const state = mkdtempSync('/var/tmp/pilotage-faults-');
beforeAll(async () => {
  chmodSync(state, 0o755);
  pool = await startServer(['--heartbeat', '1s', '--lease', '2s']);
});
afterAll(async () => {
  await pool[Symbol.asyncDispose]();
  rmSync(state, { recursive: true, force: true });
});

let count = 0;
/** A site on this machine; its jobs, and an agent that ends with the test. */
async function siteWith(
  config: Omit<SiteConfig, 'name'> & { name?: string },
  environment: Readonly<Record<string, string>> = {},
) {
  count += 1;
  const { name = `faulty-${count}` } = config;
  const temporaryDirectory = path.join(state, name);
  mkdirSync(temporaryDirectory, { mode: 0o755, recursive: true });
  const agent = await startTestAgent({
    client: clientOf(pool),
    serverUrl: pool.url(),
    directory: path.join(state, `agent-${count}`),
    configs: [{ transport: 'local', staging: 'archive', temporaryDirectory, ...config, name }],
    environment: { ...process.env, ...environment },
    watchTimes: { shortestMs: 200, longestMs: 1000 },
    patience: { endedMs: 5000, goneMs: 20_000, outcomeMs: 15_000 },
  });
  onTestFinished(() => agent.stop());
  const jobs = jobClient(clientOf(pool));
  return {
    ...jobs,
    run: (command: readonly string[], spec: object = {}) => jobs.run({ site: name, command, spec }),
  };
}

/** Takes memory until it is ended. */
const GREEDY = ['perl', '-e', 'my $n = 300 * 1024 * 1024; my $x = "x" x $n; sleep 200'];

describe.skipIf(missingSlurm() !== undefined)('with Slurm', () => {
  let slurm: SlurmCluster;
  let clusters = 0;
  // One for each: what happens to a cluster is not to be felt by the next test.
  beforeEach(async () => {
    clusters += 1;
    slurm = await startSlurm({ own: `faults-${clusters}` });
  });
  afterEach(() => slurm?.stop());

  test('a job that sbatch refuses ends with the words of sbatch, and nothing runs', async () => {
    const jobs = await siteWith({ scheduler: 'slurm', queueOptions: ['--partition=nowhere'] }, slurm.environment);
    const { number } = await jobs.run(['true']);
    const done = await jobs.ended(number);
    expect(done).toMatchObject({ state: 'FAILED', reason: 'start-failed', entries: [] });
    expect(done.message).toMatch(/did not take the job.*invalid partition/i);
  });

  test('a job that will never start says so while it waits', async () => {
    const jobs = await siteWith({ scheduler: 'slurm' }, slurm.environment);
    const { number, task } = await jobs.run(['true'], { resources: { cpus: 64 } });
    const waiting = await jobs.until(
      number,
      'to say why',
      ({ state, detail }) => state === 'FAILED' || detail !== null,
    );
    expect(`${waiting.detail ?? ''}${waiting.message ?? ''}`).toMatch(/will not start|not available|CPU count/);
    if (waiting.state === 'RUNNING') await clientOf(pool).call(routes.cancel, { body: { targets: [task as string] } });
  });

  test('a controller that is away for a while changes nothing for a job that runs', async () => {
    const jobs = await siteWith({ scheduler: 'slurm' }, slurm.environment);
    const { number } = await jobs.run(['sh', '-c', 'sleep 6; echo done']);
    await jobs.until(number, 'to run', ({ phase }) => phase === 'running');
    await slurm.stopController();
    await jobs.until(
      number,
      'to end, or to say that the batch system is silent',
      ({ detail, state }) => detail !== null || state === 'COMPLETED',
      90,
    );
    await slurm.startController();
    expect(await jobs.ended(number, 120)).toMatchObject({ state: 'COMPLETED', exitCode: 0, attempt: 1 });
  });

  test('a job submitted while the controller is away is submitted once it is back, and once only', async () => {
    const jobs = await siteWith({ scheduler: 'slurm' }, slurm.environment);
    await slurm.stopController();
    const { number } = await jobs.run(['sh', '-c', 'echo ran']);
    await jobs.until(number, 'to say that the batch system is silent', ({ detail }) => detail !== null, 120);
    await slurm.startController();
    const done = await jobs.ended(number, 120);
    expect([done.state, done.message]).toEqual(['COMPLETED', null]);
    expect(done.entries.filter(({ kind }) => kind === 'process').length).toBe(1);
  });

  test('a job that takes more memory than it asked for ends with that reason', async () => {
    const jobs = await siteWith({ scheduler: 'slurm' }, slurm.environment);
    const { number } = await jobs.run(GREEDY, { resources: { memory: 100 * 1024 * 1024 } });
    const done = await jobs.ended(number, 120);
    expect([done.state, done.reason, done.reason === 'memory-limit' ? '' : done.message]).toEqual([
      'FAILED',
      'memory-limit',
      '',
    ]);
  });
});

describe.skipIf(missingPlaces('grid-engine') !== undefined)('with Grid Engine', () => {
  // It takes no jobs of root.
  let places: Places;
  let place: Place;
  beforeAll(async () => {
    places = await openPlaces();
    place = await places.place('ssh', 'grid-engine', 'archive');
  });
  afterAll(() => places?.close());

  test('a job that qsub refuses ends with the words of qsub', async () => {
    const jobs = await siteWith({ ...place.config, queueOptions: ['-q nowhere.q'] });
    const { number } = await jobs.run(['true']);
    const done = await jobs.ended(number);
    expect(done).toMatchObject({ state: 'FAILED', reason: 'start-failed' });
    expect(done.message).toMatch(/did not take the job.*nowhere\.q/i);
  });

  test('a job that takes more memory than it asked for ends with that reason', async () => {
    const jobs = await siteWith(place.config);
    const { number } = await jobs.run(GREEDY, { resources: { memory: 100 * 1024 * 1024 } });
    const done = await jobs.ended(number, 120);
    expect([done.state, done.reason, done.reason === 'memory-limit' ? '' : done.message]).toEqual([
      'FAILED',
      'memory-limit',
      '',
    ]);
  });
});

describe('with plain processes', () => {
  test('a temporary directory without room fails the job with the reason, and nothing is left', async () => {
    if (process.getuid?.() !== 0) return;
    const small = path.join(state, 'small');
    mkdirSync(small);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', small]);
    onTestFinished(() => void execFileSync('umount', [small]));
    execFileSync('sh', ['-c', `head -c 65536 /dev/zero >'${small}/full' || true`]);
    const jobs = await siteWith({ scheduler: 'process', temporaryDirectory: small });
    const { number } = await jobs.run(['true']);
    const done = await jobs.ended(number);
    expect(done).toMatchObject({ state: 'FAILED', reason: 'start-failed' });
    expect(done.message).toMatch(/room|space/i);
  });

  test('of two jobs on one machine each is told its own end, whichever is first', async () => {
    const jobs = await siteWith({ scheduler: 'process' });
    const slow = await jobs.run(['sh', '-c', 'sleep 3; exit 5']);
    const fast = await jobs.run(['sh', '-c', 'exit 6']);
    expect(await jobs.ended(fast.number)).toMatchObject({ exitCode: 6 });
    expect((await jobs.get(slow.number)).state).not.toBe('FAILED');
    expect(await jobs.ended(slow.number)).toMatchObject({ exitCode: 5 });
  });

  test('a job that takes more memory than it asked for ends with that reason', async () => {
    const jobs = await siteWith({ scheduler: 'process' });
    const { number } = await jobs.run(GREEDY, { resources: { memory: 100 * 1024 * 1024 } });
    expect(await jobs.ended(number, 90)).toMatchObject({ state: 'FAILED', reason: 'memory-limit' });
  });
});
