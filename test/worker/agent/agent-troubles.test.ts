/** What goes wrong around jobs at a site, and what must not be lost by it. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { PilotageError } from '../../../src/ground/base/errors.ts';
import type { Client } from '../../../src/ground/client/client.ts';
import type { Route } from '../../../src/ground/protocol/route.ts';
import { routes } from '../../../src/ground/protocol/routes.ts';
import { workerCalls } from '../../../src/ground/protocol/worker-calls.ts';
import { agentDirectory } from '../../../src/worker/agent/agent-directory.ts';
import { clientOf } from '../../support/api.ts';
import { type RunningServer, startServer } from '../../support/running-server.ts';
import { jobClient, startTestAgent, type TestAgent, type TestAgentOptions } from '../../support/site-agent.ts';
import { missingPlaces, openPlaces, type Place, type Places } from '../../support/site-places.ts';
import { smallDisk } from '../../support/small-disk.ts';
import { skipWithoutSshd } from '../../support/ssh-server.ts';
import { waitUntil } from '../../support/wait-until.ts';

let pool: RunningServer;
let places: Places;
let place: Place;
let jobs: ReturnType<typeof jobClient>;
let agent: TestAgent | undefined;
const state = mkdtempSync('/tmp/pilotage-agent-');
beforeAll(async () => {
  if (missingPlaces() !== undefined) return;
  pool = await startServer([], {});
  places = await openPlaces();
  place = await places.place('ssh', 'process', 'archive');
  jobs = jobClient(clientOf(pool));
});
afterAll(async () => {
  await places?.close();
  await pool?.[Symbol.asyncDispose]();
  rmSync(state, { recursive: true, force: true });
});
beforeEach(({ skip }) => skipWithoutSshd(skip));
afterEach(async () => {
  await agent?.stop();
  agent = undefined;
});
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

async function startAgent(name: string, options: Partial<TestAgentOptions> = {}): Promise<TestAgent> {
  agent = await startTestAgent({
    client: clientOf(pool),
    serverUrl: pool.url(),
    directory: path.join(state, name),
    configs: [place.config],
    watchTimes: { shortestMs: 50, longestMs: 500 },
    ...options,
  });
  return agent;
}

/** The server, which refuses one of its calls. */
function refusing(refused: Route, message: string): Client {
  const client = clientOf(pool);
  return {
    ...client,
    call: (route, input) =>
      (route as Route) === refused
        ? Promise.reject(new PilotageError('bad-request', message))
        : client.call(route, input),
  };
}

const waiting = (then: string) => ['sh', '-c', `while [ ! -e /tmp/go ]; do sleep 0.1; done; ${then}`];
const go = () => writeFileSync(path.join(place.jobs, 'go'), '');
afterEach(() => rmSync(path.join(place.jobs, 'go'), { force: true }));

test("a job whose results do not fit on the agent's disk waits for room, and loses nothing", async ({ skip }) => {
  const disk = smallDisk('8M', skip);
  await startAgent('unused', { directory: disk });
  const job = await jobs.run({
    site: place.config.name,
    command: waiting('head -c 1000000 /dev/urandom >out'),
    spec: { outputs: [{ pattern: 'out' }] },
  });
  await jobs.until(job.number, 'it runs', ({ phase }) => phase === 'running');
  const { bavail, bsize } = statfsSync(disk);
  writeFileSync(path.join(disk, 'ballast'), Buffer.alloc(bavail * bsize));
  go();
  await jobs.until(job.number, 'it says so', ({ detail }) => detail?.includes('no room') === true);
  rmSync(path.join(disk, 'ballast'));
  expect(await jobs.ended(job.number)).toMatchObject({ state: 'COMPLETED', detail: null });
});

test('a job whose record is refused ends as it ended, and says so', async () => {
  await startAgent('refused', { client: refusing(workerCalls.mergeRecord, 'a foreign project') });
  const job = await jobs.run({ site: place.config.name, command: ['sh', '-c', 'exit 3'] });
  const done = await jobs.ended(job.number);
  expect(done).toMatchObject({ state: 'FAILED', exitCode: 3 });
  expect(done.message).toContain('a foreign project');
});

test('results that the server does not take stay on the machine, and it is said where', async () => {
  await startAgent('full', { client: refusing(workerCalls.missingBlobs, 'your project has no room') });
  const job = await jobs.run({
    site: place.config.name,
    command: ['sh', '-c', 'echo dear >out'],
    spec: { outputs: [{ pattern: 'out' }] },
  });
  const done = await jobs.ended(job.number);
  expect(done).toMatchObject({ state: 'FAILED', reason: 'output-failed' });
  expect(done.message).toContain('your project has no room');
  const directory = /left in '\/tmp\/([^']*)'/.exec(done.message ?? '')?.[1] ?? 'nowhere';
  await agent?.stop();
  expect(readFileSync(path.join(place.jobs, directory, 'project/out'), 'utf8')).toBe('dear\n');
});

test.each(['archive', 'shared'] as const)(
  'thousands of outputs come back with %s staging, compared with what the machine counted; a pipe is no output',
  async (staging) => {
    const at = await places.place('ssh', 'process', staging);
    await startAgent(`many-${staging}`, { configs: [at.config] });
    const script =
      'mkdir out && cd out && mkfifo pipe && i=0 && while [ $i -lt 3000 ]; do echo $i >"a name that is long enough to matter $i"; i=$((i + 1)); done';
    const job = await jobs.run({
      site: at.config.name,
      command: ['sh', '-c', script],
      projectDirectory: at.shared,
      spec: { outputs: [{ pattern: 'out' }] },
    });
    const done = await jobs.ended(job.number);
    expect([done.state, done.message]).toEqual(['COMPLETED', null]);
    const files = done.entries.filter((entry) => entry.kind === 'file' && entry.role === 'output');
    expect(files).toHaveLength(staging === 'archive' ? 1 : 3000);
    expect(files.every((file) => 'digest' in file)).toBe(true);
  },
);

test('an output that something still writes to while it is packed is refused', async () => {
  await startAgent('growing');
  const script = `head -c 30000000 /dev/urandom >big; echo x >grow
env -i PATH="$PATH" setsid sh -c 'while [ -e grow ]; do echo x >>grow; sleep 0.01; done' >/dev/null 2>&1 &`;
  const job = await jobs.run({
    site: place.config.name,
    command: ['sh', '-c', script],
    spec: { outputs: [{ pattern: 'big' }, { pattern: 'grow' }] },
  });
  const done = await jobs.ended(job.number);
  expect(done).toMatchObject({ state: 'FAILED', reason: 'output-failed' });
  expect(done.message).toContain("'grow' is not what the machine had");
});

test('jobs that wait for one machine keep no others waiting', async () => {
  const away = { ...place.config, name: 'away', machines: ['away.invalid'], tries: 100 };
  await startAgent('turns', { configs: [place.config, away] });
  const stuck = [];
  for (let i = 0; i < 9; i += 1) stuck.push(await jobs.run({ site: 'away', command: ['true'] }));
  await jobs.until(stuck[7]?.number ?? '', 'it tries', ({ phase }) => phase !== null);
  const job = await jobs.run({ site: place.config.name, command: ['true'] });
  expect(await jobs.ended(job.number, 20)).toMatchObject({ state: 'COMPLETED' });
});

test('a job at a site that was taken out of the file says so, and goes on when it is described again', async () => {
  const first = await startAgent('removed');
  const job = await jobs.run({ site: place.config.name, command: waiting('true') });
  await jobs.until(job.number, 'it runs', ({ phase }) => phase === 'running');
  await first.stop();
  const second = await startAgent('removed', { configs: [{ ...place.config, name: 'other' }] });
  const told = await jobs.until(job.number, 'it says so', ({ detail }) => detail?.includes('no longer known') === true);
  expect(told.batchId).not.toBeNull();
  await second.stop();
  await startAgent('removed');
  go();
  expect(await jobs.ended(job.number)).toMatchObject({ state: 'COMPLETED' });
});

test('a job goes on as it began when its site is described in another way meanwhile', async () => {
  const first = await startAgent('manner');
  const job = await jobs.run({
    site: place.config.name,
    command: waiting('echo x >out'),
    spec: { outputs: [{ pattern: 'out' }], site: { name: place.config.name, projectDirectory: '/tmp' } },
  });
  await jobs.until(job.number, 'it runs', ({ phase }) => phase === 'running');
  await first.stop();
  await startAgent('manner', { configs: [{ ...place.config, staging: 'shared' }] });
  go();
  const done = await jobs.ended(job.number);
  expect(done.state).toBe('COMPLETED');
  const { outputs } = await clientOf(pool).call(routes.task, { params: { id: done.task as string } });
  expect(outputs.map(({ name }) => name)).toEqual(['out']);
});

test('of two agents that start at the same moment one is refused, and a lock that was cut short is nobody’s', async () => {
  const options = {
    client: clientOf(pool),
    serverUrl: pool.url(),
    directory: path.join(state, 'lock'),
    configs: [place.config],
  };
  mkdirSync(agentDirectory(options.directory, options.serverUrl), { recursive: true });
  writeFileSync(path.join(agentDirectory(options.directory, options.serverUrl), 'lock'), '{"pid":');
  const started = await Promise.allSettled([startTestAgent(options), startTestAgent(options)]);
  for (const one of started) if (one.status === 'fulfilled') await one.value.stop();
  expect(started.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
});

test('an agent ends soon also when a machine answers nothing any more', async () => {
  const held = await startAgent('silent');
  const job = await jobs.run({ site: place.config.name, command: waiting('true') });
  await jobs.until(job.number, 'it runs', ({ phase }) => phase === 'running');
  const polls = (): number => held.agent.stats()[0]?.polls ?? 0;
  place.server?.pause();
  try {
    const before = polls();
    await waitUntil('it is asking', () => polls() > before);
    const begun = performance.now();
    await held.stop();
    expect(performance.now() - begun).toBeLessThan(8000);
  } finally {
    place.server?.resume();
  }
  await startAgent('silent');
  go();
  expect(await jobs.ended(job.number)).toMatchObject({ state: 'COMPLETED' });
});

test('an agent ends soon while it hands a job to a machine that answers nothing, and the next one runs it once', async () => {
  const held = await startAgent('silent-submit');
  await jobs.ended((await jobs.run({ site: place.config.name, command: ['true'] })).number);
  place.server?.pause();
  const job = await jobs.run({ site: place.config.name, command: ['sh', '-c', 'echo x >>/tmp/runs'] });
  try {
    await jobs.until(job.number, 'it is on its way', ({ phase }) => phase !== null);
    const begun = performance.now();
    await held.stop();
    expect(performance.now() - begun).toBeLessThan(8000);
  } finally {
    place.server?.resume();
  }
  await startAgent('silent-submit');
  expect(await jobs.ended(job.number)).toMatchObject({ state: 'COMPLETED' });
  expect(readFileSync(path.join(place.jobs, 'runs'), 'utf8')).toBe('x\n');
});
