import { randomBytes, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import selfsigned from 'selfsigned';
import { expect, onTestFinished, test } from 'vitest';
import type { TaskDetail } from '../../src/ground/protocol/task.ts';
import { createIdentity, type Identity } from '../../src/server/federation/identity.ts';
import { dial } from '../../src/server/federation/link/dial.ts';
import { readVerdict, shakeHands } from '../../src/server/federation/link/shake-hands.ts';
import { startLinkProxy } from '../support/link-proxy.ts';
import {
  connected,
  makeNeighbours,
  type PeerServer,
  startPeer,
  stateAt,
  submitAt,
  taskAt,
  taskBecomes,
} from '../support/peer-servers.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { waitUntil } from '../support/wait-until.ts';

const runsIn = (file: string): string[] => {
  try {
    return readFileSync(file, 'utf8').split('\n').filter(Boolean);
  } catch {
    return [];
  }
};

/** All tasks of a submission succeeded, each with one result that was accepted. */
async function endedOnce(server: PeerServer, id: string, count: number, seconds = 180): Promise<void> {
  await waitUntil(
    `all ${count} tasks of ${server.name} are done`,
    async () => {
      const { counts } = await server
        .json<{ counts: Record<string, number> }>(['status'])
        .catch(() => ({ counts: {} }));
      expect((counts as Record<string, number>).failed ?? 0).toBe(0);
      return (counts as Record<string, number>).succeeded === count;
    },
    seconds,
  );
  for (let index = 1; index <= count; index += 1) {
    const task: TaskDetail = await taskAt(server, `${id}.${index}`);
    expect([task.state, task.attempts.filter(({ outcome }) => outcome === 'succeeded').length]).toEqual([
      'succeeded',
      1,
    ]);
  }
}

test('home, middle and worker side are killed in turn: every task ends once', async () => {
  const [home, middle, work] = (await Promise.all(['home', 'middle', 'work'].map((name) => startPeer(name)))) as [
    PeerServer,
    PeerServer,
    PeerServer,
  ];
  await makeNeighbours(home, middle);
  await makeNeighbours(middle, work);
  work.worker(['--slots', '4']);
  const marks = path.join(temporaryDirectory(), 'runs');
  const count = 60;
  const id = await submitAt(home, '--array', `1-${count}`, '--', 'sh', '-c', `echo {index} >> ${marks}; sleep 0.7`);
  for (const victim of [home, middle, work, middle, home, work]) {
    const before = runsIn(marks).length;
    await waitUntil('some more were begun', () => runsIn(marks).length > before || runsIn(marks).length >= count, 60);
    await victim.kill('SIGKILL');
    await victim.start();
  }
  await endedOnce(home, id, count);
}, 600_000);

test('a link that is cut, silent and slow in the middle of everything: every task ends once', async () => {
  const home = await startPeer('home');
  const proxy = await startLinkProxy(() => home.port());
  // Whoever dials goes through it: the worker's side is not to be reached at all.
  const work = await startPeer('work', { flags: ['--peer-address', '127.0.0.1:1'] });
  await home.kill('SIGTERM');
  await home.start({ flags: ['--peer-address', `127.0.0.1:${proxy.port}`] });
  await work.json(['peer', 'connect', '127.0.0.1', String(proxy.port)]);
  await home.json(['peer', 'trust', 'work']);
  await connected(home, work);
  expect(proxy.connections).toBe(1);
  work.worker(['--slots', '4']);
  const count = 60;
  const id = await submitAt(
    home,
    '--array',
    `1-${count}`,
    '--output',
    'o.txt',
    '--',
    'sh',
    '-c',
    'echo {index} > o.txt; sleep 0.3',
  );
  proxy.delay(50);
  const done = async (): Promise<number> =>
    (await home.json<{ counts: Record<string, number> }>(['status'])).counts.succeeded ?? 0;
  for (let round = 0; round < 12; round += 1) {
    const [ran, passed] = [await done(), proxy.bytes];
    // In the middle of shaking hands, which takes more than this; else when some more got through.
    if (round % 3 === 2) await waitUntil('they begin to talk', () => proxy.bytes > passed + 400 * round, 60);
    else await waitUntil('some more are done', async () => (await done()) > ran || (await done()) === count, 60);
    proxy.cut();
    if (round % 4 === 0) {
      const { refused } = proxy;
      proxy.block(true);
      await waitUntil('they tried in vain', () => proxy.refused > refused, 60);
      proxy.block(false);
    }
  }
  await connected(home, work);
  proxy.mute(true);
  const lost = async () => [await stateAt(home, 'work'), await stateAt(work, 'home')];
  await waitUntil('both noticed the silence', async () => (await lost()).every((state) => state === 'unreachable'), 60);
  proxy.mute(false);
  proxy.cut();
  await endedOnce(home, id, count);
  await connected(home, work);
  expect(proxy.connections).toBe(1);
}, 600_000);

test('a task that runs on while its home is away for longer than its lease counts once home is back', async () => {
  const [home, work] = await Promise.all([startPeer('home'), startPeer('work')]);
  await makeNeighbours(home, work);
  work.worker();
  const marks = path.join(temporaryDirectory(), 'runs');
  const id = await submitAt(home, '--', 'sh', '-c', `echo begun >> ${marks}; sleep 8; echo ended >> ${marks}`);
  await waitUntil('it runs', () => runsIn(marks).length === 1);
  await home.kill('SIGKILL');
  await waitUntil('it ended while nobody was at home', () => runsIn(marks).includes('ended'), 30);
  expect((await work.peers())[0]?.here).toBe(1);
  await home.start();
  const task = await taskBecomes(home, `${id}.1`, 'succeeded');
  expect([task.attempt, runsIn(marks)]).toEqual([1, ['begun', 'ended']]);
});

test('a stopped and a dead neighbour delay nobody and hide nobody behind them', async () => {
  const servers = await Promise.all(['stopped', 'dead', 'alive', 'work'].map((name) => startPeer(name)));
  const [stopped, dead, alive, work] = servers as [PeerServer, PeerServer, PeerServer, PeerServer];
  for (const one of [stopped, dead, alive]) await makeNeighbours(one, work);
  work.worker();
  // Both have something to do when they fall silent, and come first.
  for (const one of [stopped, dead]) await submitAt(one, '--label', 'at=nowhere', '--', 'true');
  await dead.kill('SIGKILL');
  stopped.signal('SIGSTOP');
  onTestFinished(() => stopped.signal('SIGCONT'));
  for (let i = 0; i < 3; i += 1) {
    const begun = performance.now();
    const id = await submitAt(alive, '--', 'true');
    await taskBecomes(alive, `${id}.1`, 'succeeded');
    expect(performance.now() - begun).toBeLessThan(8000);
  }
  await waitUntil('they are listed as unreachable', async () => {
    const states = [await stateAt(work, 'stopped'), await stateAt(work, 'dead')];
    return states.every((state) => state === 'unreachable');
  });
  expect((await work.run(['status'])).stdout).toMatch(
    /neighbour 1 connected, 2 unreachable \((stopped, dead|dead, stopped)\)/,
  );
  stopped.signal('SIGCONT');
  await connected(stopped, work, 60);
  expect((await work.run(['status'])).stdout).toMatch(/neighbour 2 connected, 1 unreachable \(dead\)/);
}, 600_000);

test('own tasks come first, then those of neighbours in the order of priority, which may change at any time', async () => {
  const [first, second, work] = (await Promise.all(['first', 'second', 'work'].map((name) => startPeer(name)))) as [
    PeerServer,
    PeerServer,
    PeerServer,
  ];
  await makeNeighbours(first, work);
  await makeNeighbours(second, work);
  await work.json(['peer', 'priority', 'second', '1']);
  expect((await work.peers()).map(({ name, priority }) => [name, priority])).toEqual([
    ['first', 0],
    ['second', 1],
  ]);
  const marks = path.join(temporaryDirectory(), 'runs');
  const many = (server: PeerServer, n: number) =>
    submitAt(server, '--array', `1-${n}`, '--', 'sh', '-c', `echo ${server.name} >> ${marks}; sleep 0.5`);
  await many(second, 12);
  await many(first, 12);
  await many(work, 4);
  work.worker(['--slots', '1']);
  await waitUntil('own ones and some of the first ran', () => runsIn(marks).length >= 9, 60);
  const before = runsIn(marks);
  expect(before.slice(0, 4)).toEqual(Array(4).fill('work'));
  expect(before.slice(4).every((name) => name === 'first')).toBe(true);
  await work.json(['peer', 'priority', 'second', '0']);
  const at = runsIn(marks).length;
  await waitUntil('the second has its turn', () => runsIn(marks).filter((name) => name === 'second').length >= 10, 60);
  // What had come already is run; after that the second's go first.
  expect(
    runsIn(marks)
      .slice(at, at + 14)
      .filter((name) => name === 'first').length,
  ).toBeLessThanOrEqual(4);
  await many(work, 2);
  await waitUntil('all ran', () => runsIn(marks).length === 30, 60);
}, 600_000);

test('what is lent can be narrowed at any moment: share, labels, projects, hours, and what is sent', async () => {
  const [home, work] = await Promise.all([startPeer('home'), startPeer('work')]);
  await makeNeighbours(home, work);
  await home.json(['project', 'create', 'open']);
  const runs = (id: string) => taskAt(home, `${id}.1`).then(({ state }) => state);
  // Half of four cpus, half of the workers.
  work.worker(['--slots', '2', '--label', 'lent=yes']);
  work.worker(['--slots', '2']);
  await work.json(['peer', 'lend', 'home', '--share', '25%']);
  await waitUntil('home knows', async () => (await home.peers())[0]?.theirTerms?.share === 0.25);
  const marks = path.join(temporaryDirectory(), 'runs');
  const mark = `echo begun >> ${marks}; sleep 1; echo ended >> ${marks}`;
  await submitAt(home, '--array', '1-6', '--', 'sh', '-c', mark);
  await waitUntil(
    'they ran',
    async () => (await home.json<{ counts: Record<string, number> }>(['status'])).counts.succeeded === 6,
    60,
  );
  // One at a time: each begins when the one before has ended.
  expect(runsIn(marks)).toEqual(Array(6).fill(['begun', 'ended']).flat());
  // Nothing more: what waits there comes back, and what runs goes on to its end.
  const long = await submitAt(home, '--', 'sh', '-c', `echo long >> ${marks}; sleep 4`);
  await waitUntil('it runs', () => runsIn(marks).includes('long'));
  await work.json(['peer', 'lend', 'home', '--share', '0%']);
  const later = await submitAt(home, '-p', 'open', '--', 'true');
  await taskBecomes(home, `${long}.1`, 'succeeded');
  expect(await runs(later)).toBe('queued');
  // Only that project, only those workers, at any hour.
  await work.json([
    'peer',
    'lend',
    'home',
    '--everything',
    '--project',
    'open',
    '--label',
    'lent=yes',
    '--hours',
    '00:00-23:59',
    '--hours',
    '23:00-01:00',
  ]);
  const closed = await submitAt(home, '--', 'true');
  await taskBecomes(home, `${later}.1`, 'succeeded');
  expect(await runs(closed)).toBe('queued');
  const why = await home.run(['why', `${closed}.1`]);
  expect(why.stdout).toContain("work lends nothing to tasks of project 'default'");
  // And home keeps its own to itself.
  await work.json(['peer', 'lend', 'home', '--everything']);
  await taskBecomes(home, `${closed}.1`, 'succeeded');
  await home.json(['peer', 'lend', 'work', '--send', 'open']);
  const secret = await submitAt(home, '--', 'true');
  const known = await submitAt(home, '-p', 'open', '--', 'true');
  await taskBecomes(home, `${known}.1`, 'succeeded');
  expect(await runs(secret)).toBe('queued');
  expect((await home.run(['why', `${secret}.1`])).stdout).toContain("tasks of project 'default' may go to none");
  const show = await work.run(['peer', 'show', 'home']);
  expect(show.stdout).toMatch(/CPU hours of our workers' time/);
}, 600_000);

test('who is not who it says gets nowhere: forged, expired, another server at the address, rubbish', async () => {
  const [alpha, beta] = await Promise.all([startPeer('alpha'), startPeer('beta')]);
  await makeNeighbours(alpha, beta);
  const place = { host: '127.0.0.1', port: alpha.port() };
  const never = new AbortController().signal;
  const meet = async (identity: Identity) => {
    const raw = await dial(place, never);
    const shaken = await shakeHands(raw, 'dialler', identity).catch(() => undefined);
    if (!shaken) return { verdict: 'hung up' as const, socket: raw };
    const verdict = await readVerdict(shaken.socket).catch(() => 'hung up' as const);
    return { verdict, socket: shaken.socket };
  };
  const made = async (notAfterDate: Date) => {
    const { cert, private: key } = await selfsigned.generate([{ name: 'commonName', value: 'pilotage' }], {
      keyType: 'ec',
      notAfterDate,
    });
    return { cert, key };
  };
  // Somebody with a certificate that looks like beta's: another fingerprint.
  const forged = await made(new Date('2999-01-01'));
  expect((await meet(createIdentity(forged.cert, forged.key))).verdict).toBe('unknown');
  const expired = await made(new Date(Date.now() - 86_400_000));
  expect((await meet(createIdentity(expired.cert, expired.key))).verdict).toBe('hung up');
  const introduce = (certificate: string) =>
    fetch(`http://127.0.0.1:${alpha.port()}/api/v1/peers/introductions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ protocol: 1, version: '1', name: 'liar', certificate, places: [] }),
    });
  for (const certificate of [expired.cert, 'rubbish', `${forged.cert.slice(0, 200)}`])
    expect((await introduce(certificate)).status).toBe(400);
  // A certificate whose signature is not its own could carry somebody else's name: it is not taken in.
  const bent = Buffer.from(new X509Certificate(forged.cert).raw);
  bent[bent.length - 5] = (bent[bent.length - 5] as number) ^ 1;
  const pem = `-----BEGIN CERTIFICATE-----\n${bent.toString('base64')}\n-----END CERTIFICATE-----\n`;
  expect((await introduce(pem)).status).toBe(400);
  // Beta's certificate is public: whoever shows it without the key gets nowhere, and moves beta nowhere.
  const betaCertificate = readFileSync(path.join(beta.data, 'peer-cert.pem'), 'utf8');
  expect((await introduce(betaCertificate)).status).toBe(200);
  expect(await alpha.peers()).toMatchObject([{ name: 'beta', state: 'connected', port: beta.port() }]);
  // Too many requests of strangers from one address are slowed down.
  const statuses = [];
  for (let i = 0; i < 25; i += 1) statuses.push((await introduce(betaCertificate)).status);
  expect(statuses).toContain(429);
  // Beta itself sends rubbish: the link ends, nothing else does, and it comes back.
  const own = createIdentity(betaCertificate, readFileSync(path.join(beta.data, 'peer-key.pem'), 'utf8'));
  const { verdict, socket } = await meet(own);
  expect(verdict).toBe('welcome');
  const { promise: over, resolve } = Promise.withResolvers<void>();
  socket.on('error', () => undefined).once('close', resolve);
  socket.write(randomBytes(100_000));
  await over;
  await connected(alpha, beta, 60);
  // Another server at beta's address is not beta.
  const port = beta.port();
  await beta.kill('SIGTERM');
  await startPeer('gamma', { port });
  await waitUntil('alpha says so', async () => (await alpha.peers())[0]?.error?.includes('another server is at'), 60);
  expect(await stateAt(alpha, 'beta')).toBe('unreachable');
}, 600_000);
