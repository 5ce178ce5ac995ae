import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import type { PingReply } from '../../src/ground/protocol/peer.ts';
import { freePort } from '../support/free-port.ts';
import { skipWithoutNetwork, startNetlab } from '../support/netlab.ts';
import {
  connected,
  makeNeighbours,
  type PeerServer,
  showPeer,
  startPeer,
  stateAt,
  submitAt,
  taskBecomes,
} from '../support/peer-servers.ts';
import { isAlive, pidIn } from '../support/processes.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { waitUntil } from '../support/wait-until.ts';

const MAIN = fileURLToPath(new URL('../../dist/main/main.js', import.meta.url));

const namesOf = (topology: readonly { readonly name: string }[]) => topology.map(({ name }) => name).sort();
const knowsAll = (server: PeerServer, neighbour: string, names: readonly string[]) =>
  waitUntil(`${server.name} knows ${names.join(', ')}`, async () => {
    const { topology } = await showPeer(server, neighbour);
    return JSON.stringify(namesOf(topology)) === JSON.stringify([...names].sort());
  });

test('a chain of four: a task with files runs three hops from home, and what its program submits is at home', async () => {
  const names = ['home', 'near', 'far', 'work'];
  const [home, near, far, work] = (await Promise.all(names.map((name) => startPeer(name)))) as [
    PeerServer,
    PeerServer,
    PeerServer,
    PeerServer,
  ];
  await makeNeighbours(home, near);
  await makeNeighbours(near, far);
  await makeNeighbours(far, work);
  await knowsAll(home, 'near', names);
  await knowsAll(work, 'far', names);
  const pong = await home.json<PingReply>(['peer', 'ping', 'work']);
  expect(pong.names).toEqual(names);

  work.worker();
  const here = temporaryDirectory();
  writeFileSync(`${here}/in.txt`, 'from home');
  writeFileSync(
    `${here}/run.sh`,
    `cat in.txt > out.txt; env | grep ^PILOTAGE_ > env.txt\n${process.execPath} ${MAIN} submit --name child -- true > child.txt\n` +
      `echo begun; until [ -e ${here}/go ]; do sleep 0.1; done\n`,
  );
  const id = await submitAt(
    home,
    ...['--input', `${here}/in.txt`, '--input', `${here}/run.sh`, '--output', 'out.txt', '--output', '*.txt'],
    ...['--', 'sh', 'run.sh'],
  );
  const follower = home.command(['logs', '-f', `${id}.1`]);
  await waitUntil('its output comes home while it runs', () => follower.stdout().includes('begun'), 60);
  writeFileSync(`${here}/go`, '');
  await taskBecomes(home, `${id}.1`, 'succeeded');
  await home.run(['results', `${id}.1`, '--to', `${here}/results`]);
  expect(readFileSync(`${here}/results/out.txt`, 'utf8')).toBe('from home');
  expect(readFileSync(`${here}/results/env.txt`, 'utf8')).toContain(`PILOTAGE_TASK_ID=${id}.1\n`);
  const listed = await home.json<{ name: string | null }[]>(['tasks']);
  expect(listed.map(({ name }) => name)).toContain('child');
  // The servers between keep nothing.
  for (const server of [near, far, work])
    await waitUntil(`${server.name} has nothing left`, async () =>
      (await server.peers()).every(({ here: n }) => n === 0),
    );
  // Cancelled at home it ends there too.
  const long = await submitAt(home, '--', 'sh', '-c', `echo $$ > ${here}/pid; exec sleep 600`);
  const pid = await waitUntil('it runs', () => pidIn(`${here}/pid`), 60);
  await home.json(['cancel', long]);
  await waitUntil('its program is gone', () => !isAlive(pid));
});

test('a ring and a star: nothing goes round in circles, and every task runs once', async () => {
  const names = ['r1', 'r2', 'r3', 'r4', 'hub'];
  const servers = await Promise.all(names.map((name) => startPeer(name)));
  const [r1, r2, r3, r4, hub] = servers as [PeerServer, PeerServer, PeerServer, PeerServer, PeerServer];
  for (const [a, b] of [
    [r1, r2],
    [r2, r3],
    [r3, r4],
    [r4, r1],
    [hub, r1],
    [hub, r3],
  ] as const)
    await makeNeighbours(a, b);
  for (const server of servers) await knowsAll(server, (await server.peers())[0]?.name ?? '', names);
  r3.worker();
  r4.worker();
  const marks = temporaryDirectory();
  const id = await submitAt(r1, '--array', '1-40', '--', 'sh', '-c', `echo {index} >> ${marks}/runs`);
  const other = await submitAt(hub, '--array', '101-120', '--', 'sh', '-c', `echo {index} >> ${marks}/runs`);
  for (const [server, submission] of [
    [r1, id],
    [hub, other],
  ] as const)
    await waitUntil(
      'all are done',
      async () => {
        const { counts } = await server.json<{ counts: { succeeded: number; failed: number } }>(['status']);
        expect(counts.failed).toBe(0);
        return counts.succeeded === (submission === id && server === r1 ? 40 : 20);
      },
      120,
    );
  const runs = readFileSync(`${marks}/runs`, 'utf8').trim().split('\n');
  expect(runs.length).toBe(60);
  expect(new Set(runs).size).toBe(60);
  // Nothing is left on any way.
  for (const server of servers)
    await waitUntil(`${server.name} has nothing left`, async () =>
      (await server.peers()).every(({ here: n }) => n === 0),
    );
});

test('a firewall that lets only one direction through: one link, made by whoever can, serves both', async ({
  skip,
}) => {
  skipWithoutNetwork(skip);
  const net = startNetlab(2);
  const [open, walled] = net.hosts as [(typeof net.hosts)[0], (typeof net.hosts)[0]];
  walled.refuseInbound();
  const outside = await startPeer('outside', { host: open });
  const inside = await startPeer('inside', { host: walled });
  await inside.json(['peer', 'connect', open.address]);
  await outside.json(['peer', 'trust', 'inside']);
  await connected(outside, inside);
  await bothWays(outside, inside);
});

test('a tunnel to a server behind a firewall is needed for the first contact only', async ({ skip }) => {
  skipWithoutNetwork(skip);
  const net = startNetlab(2);
  const [open, walled] = net.hosts as [(typeof net.hosts)[0], (typeof net.hosts)[0]];
  const outside = await startPeer('outside', { host: open });
  const inside = await startPeer('inside', { host: walled });
  // What ssh -L would be: the one who carries it may enter.
  const port = await freePort();
  const relay = `const n=require('net');n.createServer(s=>{const t=n.connect(9990,'${walled.address}');s.pipe(t).pipe(s);for(const x of[s,t])x.on('error',()=>{s.destroy();t.destroy()})}).listen(${port},'127.0.0.1')`;
  const tunnel = startRelay(open.exec, relay);
  await waitUntil('the tunnel is open', async () => {
    const ran = await outside.run(['peer', 'connect', 'localhost', String(port)]);
    return ran.code === 0;
  });
  walled.refuseInbound();
  tunnel.kill('SIGKILL');
  await inside.json(['peer', 'trust', 'outside']);
  await connected(outside, inside);
  await bothWays(outside, inside);
});

test('ports change while both are down, then the ports of both at once: the link comes back by itself', async () => {
  const [a, b] = await Promise.all([startPeer('moving'), startPeer('staying')]);
  await makeNeighbours(a, b);
  await Promise.all([a.kill('SIGTERM'), b.kill('SIGKILL')]);
  await a.start({ port: await freePort() });
  await b.start();
  await connected(a, b);
  const pong = await b.json<PingReply>(['peer', 'ping', 'moving']);
  expect(pong.names).toEqual(['staying', 'moving']);
  expect((await b.peers())[0]?.port).toBe(a.port());
  await Promise.all([a.kill(), b.kill()]);
  await Promise.all([a.start({ port: await freePort() }), b.start({ port: await freePort() })]);
  await connected(a, b, 60);
  expect([(await a.peers())[0]?.port, (await b.peers())[0]?.port]).toEqual([b.port(), a.port()]);
});

test('a server that moved to another address is found through a neighbour of both', async ({ skip }) => {
  skipWithoutNetwork(skip);
  const net = startNetlab(3);
  const [one, two, three] = net.hosts as [(typeof net.hosts)[0], (typeof net.hosts)[0], (typeof net.hosts)[0]];
  const [a, b] = [await startPeer('a', { host: one }), await startPeer('b', { host: two })];
  const common = await startPeer('common', { host: three });
  await makeNeighbours(a, b);
  await makeNeighbours(a, common);
  await makeNeighbours(b, common);
  await Promise.all([a.kill(), b.kill()]);
  // Neither can tell the other: both are at other ports, and nothing of the earlier ones is let in.
  await a.start({ port: 9991 });
  await b.start({ port: 9992 });
  await connected(a, b, 60);
  expect([(await a.peers()).find(({ name }) => name === 'b')?.port, await stateAt(a, 'b')]).toEqual([
    9992,
    'connected',
  ]);
});

/** Each has a worker, and each has a task that only the other one's worker can run. */
async function bothWays(a: PeerServer, b: PeerServer): Promise<void> {
  a.worker(['--label', 'at=a']);
  b.worker(['--label', 'at=b']);
  const ofA = await submitAt(a, '--label', 'at=b', '--', 'true');
  const ofB = await submitAt(b, '--label', 'at=a', '--', 'true');
  await taskBecomes(a, `${ofA}.1`, 'succeeded');
  await taskBecomes(b, `${ofB}.1`, 'succeeded');
}

function startRelay(exec: readonly string[], script: string): ChildProcess {
  const file = path.join(temporaryDirectory(), 'relay.cjs');
  writeFileSync(file, script);
  const [program = process.execPath, ...words] = [...exec, process.execPath, file];
  return spawn(program, words, { stdio: 'ignore' });
}
