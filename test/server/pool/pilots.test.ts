import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Client } from '../../../src/ground/client/client.ts';
import { PROTOCOL_VERSION } from '../../../src/ground/protocol/limits.ts';
import type { PilotsView } from '../../../src/ground/protocol/pilot.ts';
import { routes } from '../../../src/ground/protocol/routes.ts';
import { clientOf } from '../../support/api.ts';
import { type RunningServer, startServer } from '../../support/running-server.ts';
import { waitUntil } from '../../support/wait-until.ts';

let server: RunningServer;
let client: Client;
beforeAll(async () => {
  server = await startServer();
  client = clientOf(server);
});
afterAll(() => server[Symbol.asyncDispose]());

const PLAN = { max: 2, slots: 4, wallTimeSeconds: 3600, untilIdleSeconds: 60 };
const TOTAL = { cpus: 100, memory: 2 ** 34, gpus: 0, named: {} };
const about = (name: string, kind: 'site' | 'command') => ({
  protocol: PROTOCOL_VERSION,
  version: 'test',
  name,
  host: 'test',
  pid: 1,
  zone: null,
  total: TOTAL,
  labels: kind === 'site' ? { 'site:cluster': 'yes' } : ({} as Record<string, string>),
  kinds: [kind],
  batchHold: kind === 'site',
  remainingSeconds: null,
});

test('the command line sets, shows, pauses, resumes and removes them', async () => {
  const words = ['--site', 'lines', '--max', '3', '--slots', '8', '--wall-time', '2h', '--memory', '8GiB'];
  expect(await server.json<PilotsView>(['pilots', 'set', ...words])).toMatchObject({
    site: 'lines',
    max: 3,
    state: 'active',
    plan: { slots: 8, wallTimeSeconds: 7200, untilIdleSeconds: 60, memory: 2 ** 33 },
  });
  expect(await server.json(['pilots', 'pause', '--site', 'lines'])).toMatchObject({ state: 'paused' });
  expect(await server.json(['pilots', 'resume', '--site', 'lines'])).toMatchObject({ state: 'active' });
  expect((await server.run(['pilots'])).stdout).toMatch(
    /lines +active[\s\S]*no agent is there that serves site 'lines'/,
  );
  await server.json(['pilots', 'remove', '--site', 'lines']);
  expect(await server.json(['pilots'])).toEqual([]);
  const again = await server.run(['pilots', 'remove', '--site', 'lines']);
  expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining("no pilots are set for a site 'lines'") });
});

test('nobody but the server makes pilots, and nobody but an administrator says which', async () => {
  const pilot = { ...PLAN, workerSeconds: 3500, exclude: [] };
  const { max: _max, ...spec } = pilot;
  const made = client.call(routes.createJob, {
    params: { project: 'default' },
    body: { spec: { command: ['true'], site: { name: 'cluster', pilot: spec } } },
  });
  await expect(made).rejects.toMatchObject({ code: 'bad-spec' });
  const { token } = await client.call(routes.createToken, { body: { name: 'user', scopes: ['submit', 'work'] } });
  const set = clientOf(server, token).call(routes.setPilots, { params: { site: 'cluster' }, body: PLAN });
  await expect(set).rejects.toMatchObject({ code: 'forbidden' });
});

test('a pilot works with the credential of its attempt, does nothing else by it, and nothing after', async () => {
  await client.call(routes.setPilots, { params: { site: 'cluster' }, body: PLAN });
  const step = { spec: { command: ['true'] } };
  await client.call(routes.submit, { body: { project: 'default', requestId: 'request-1', steps: [step] } });
  const agent = await client.call(routes.register, { body: about('agent', 'site') });
  let number = 0;
  const exchange = (over: object = {}) =>
    client.call(routes.exchange, {
      params: { session: agent.session },
      headers: { 'x-pilotage-session': agent.secret },
      body: { number: ++number, held: [], reports: [], free: TOTAL, maxClaims: 10, waitSeconds: 0, ...over },
    });
  const claim = await waitUntil('a pilot to be sent for', async () => (await exchange()).claims[0], 10);
  expect(claim).toMatchObject({ project: 'pilots' });
  const { task, attempt, secret } = claim as { task: string; attempt: number; secret: string };
  const pilot = clientOf(server, `task:${task}:${attempt}:${secret}`);
  const { worker } = await pilot.call(routes.register, { body: about('pilot', 'command') });
  const view = async () => (await client.call(routes.pilots)).find(({ site }) => site === 'cluster');
  expect((await view())?.pilots).toMatchObject([{ task, state: 'working', worker }]);
  for (const forbidden of [
    pilot.call(routes.submit, { body: { project: 'default', requestId: 'request-2', steps: [step] } }),
    pilot.call(routes.pilots),
    pilot.call(routes.createToken, { body: { name: 'mine', scopes: ['admin'] } }),
  ])
    await expect(forbidden).rejects.toMatchObject({ code: 'forbidden' });
  await exchange({ held: [{ task, attempt }], reports: [{ task, attempt, secret, outcome: 'succeeded' }] });
  await expect(pilot.call(routes.register, { body: about('late', 'command') })).rejects.toMatchObject({
    code: 'unauthenticated',
  });
});
