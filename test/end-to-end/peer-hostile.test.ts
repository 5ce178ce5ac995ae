import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { linkRoutes } from '../../src/ground/protocol/peer-routes.ts';
import { dial } from '../../src/server/federation/link/dial.ts';
import { readVerdict, shakeHands } from '../../src/server/federation/link/shake-hands.ts';
import { identityOf, linkAs } from '../support/as-neighbour.ts';
import { newIdentity } from '../support/new-identity.ts';
import {
  connected,
  makeNeighbours,
  type PeerServer,
  startPeer,
  submitAt,
  taskAt,
  taskBecomes,
} from '../support/peer-servers.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { waitUntil } from '../support/wait-until.ts';

const pair = async (): Promise<[PeerServer, PeerServer]> => Promise.all([startPeer('home'), startPeer('work')]);

/** Somebody who asks for a link and then says nothing. */
async function stranger(to: PeerServer): Promise<Socket> {
  const socket = connect({ host: to.address(), port: to.port() });
  onTestFinished(() => void socket.destroy());
  socket.on('error', () => undefined);
  socket.write('GET /api/v1/link HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: pilotage-peer\r\n\r\n');
  const closed = once(socket, 'close');
  await Promise.race([once(socket, 'data'), closed]);
  return socket;
}

test('a neighbour that tells nonsense keeps nobody from being asked', async () => {
  const mad = await startPeer('mad');
  const [home, work] = await pair();
  await makeNeighbours(mad, work);
  await makeNeighbours(home, work);
  await mad.kill();
  const client = await linkAs(identityOf(mad), work);
  const path = [identityOf(mad).id];
  const demand = ['["command"', '["command",1]', '["command",null,0,0,0,[],[]]'].map((shape) => ({
    shape,
    project: 'p',
    path,
  }));
  const body = { version: '1', name: 'mad', places: [], terms: {}, demand, map: [] };
  await client.call(linkRoutes.news, { body });
  work.worker();
  const id = await submitAt(home, '--', 'true');
  await taskBecomes(home, `${id}.1`, 'succeeded', 30);
}, 300_000);

test('strangers who say nothing, hang up or are refused and stay keep no neighbour out, and no server from stopping', async () => {
  const [home, work] = await pair();
  for (let i = 0; i < 60; i += 1) (await stranger(work)).destroy();
  for (let i = 0; i < 60; i += 1) await stranger(work);
  await makeNeighbours(home, work);
  // One that proves to be somebody whom nobody knows, and does not go.
  const raw = await dial({ host: work.address(), port: work.port() }, new AbortController().signal);
  onTestFinished(() => void raw.destroy());
  const { socket } = await shakeHands(raw, 'dialler', await newIdentity());
  expect(await readVerdict(socket)).toBe('unknown');
  const begun = performance.now();
  await work.kill('SIGTERM');
  expect(performance.now() - begun).toBeLessThan(15_000);
}, 300_000);

test('who calls itself by the first digits of the id of another one is not taken for it', async () => {
  const [home, work] = await pair();
  await work.json(['peer', 'connect', home.address(), String(home.port())]);
  const id = await work.id();
  const { certificate } = await newIdentity();
  const answer = await fetch(`http://${home.address()}:${home.port()}/api/v1/peers/introductions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ protocol: 1, version: '1', name: id.slice(0, 16), certificate, places: [] }),
  });
  expect(answer.status).toBe(200);
  const refused = await home.run(['peer', 'trust', id.slice(0, 16)]);
  expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining('give more of the id')]);
  expect(await home.json(['peer', 'trust', id.slice(0, 24)])).toMatchObject({ name: 'work' });
  await connected(home, work);
}, 300_000);

test('of several projects only the tasks of those that are lent to come over', async () => {
  const [home, work] = await pair();
  await makeNeighbours(home, work);
  await home.json(['project', 'create', 'open']);
  await work.json(['peer', 'lend', 'home', '--project', 'open']);
  await waitUntil('home knows', async () => (await home.peers())[0]?.theirTerms?.projects?.[0] === 'open');
  const closed = await submitAt(home, '--array', '1-4', '--priority', '9', '--', 'true');
  const open = await submitAt(home, '-p', 'open', '--array', '1-4', '--', 'true');
  work.worker();
  for (const index of [1, 2, 3, 4]) await taskBecomes(home, `${open}.${index}`, 'succeeded', 30);
  for (const index of [1, 2, 3, 4]) {
    const { state, attempts } = await taskAt(home, `${closed}.${index}`);
    expect([state, attempts]).toEqual(['queued', []]);
  }
}, 300_000);

test('what runs there already comes home with its files, though nothing more of its project is sent', async () => {
  const [home, work] = await pair();
  await makeNeighbours(home, work);
  work.worker();
  const here = temporaryDirectory();
  const script = `echo begun; until [ -e ${here}/go ]; do sleep 0.1; done; head -c 200000 /dev/zero > out.bin`;
  const id = await submitAt(home, '--output', 'out.bin', '--', 'sh', '-c', script);
  await waitUntil('it runs there', async () => (await work.peers())[0]?.here === 1);
  await home.json(['peer', 'lend', 'work', '--send-nothing']);
  writeFileSync(`${here}/go`, '');
  await taskBecomes(home, `${id}.1`, 'succeeded');
  expect((await home.run(['results', `${id}.1`, '--to', `${here}/results`])).code).toBe(0);
  expect(readFileSync(`${here}/results/out.bin`).length).toBe(200_000);
}, 300_000);

test('files that are over the quota at home fail their task, and no other that ended with it', async () => {
  const [home, work] = await pair();
  await makeNeighbours(home, work);
  await home.json(['project', 'quota', 'default', '100KiB']);
  work.worker(['--slots', '4']);
  const here = temporaryDirectory();
  const script = `until [ -e ${here}/go ]; do sleep 0.05; done; head -c $(( {index} == 2 ? 500000 : {index} * 100 )) /dev/zero > out.bin`;
  const id = await submitAt(home, '--array', '1-4', '--retries', '0', '--output', 'out.bin', '--', 'sh', '-c', script);
  await waitUntil('they run there', async () => (await work.peers())[0]?.here === 4);
  writeFileSync(`${here}/go`, '');
  const failed = await taskBecomes(home, `${id}.2`, 'failed');
  expect(failed).toMatchObject({ reason: 'output-failed' });
  expect(failed.attempts.at(-1)?.message).toContain('do not fit into project');
  for (const index of [1, 3, 4]) {
    await taskBecomes(home, `${id}.${index}`, 'succeeded');
    const to = `${here}/results-${index}`;
    expect((await home.run(['results', `${id}.${index}`, '--to', to])).code).toBe(0);
    expect(readFileSync(`${to}/out.bin`).length).toBe(index * 100);
  }
}, 300_000);

test('who drains all workers at home ends nothing between neighbours', async () => {
  const [home, work] = await pair();
  await makeNeighbours(home, work);
  work.worker();
  const first = await submitAt(home, '--', 'true');
  await taskBecomes(home, `${first}.1`, 'succeeded');
  await home.run(['workers', 'drain', '--all']);
  const second = await submitAt(home, '--', 'true');
  await taskBecomes(home, `${second}.1`, 'succeeded', 30);
}, 300_000);
