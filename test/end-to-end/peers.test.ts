import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import type { PingReply } from '../../src/ground/protocol/peer.ts';
import { adminToken } from '../support/api.ts';
import { freePort } from '../support/free-port.ts';
import {
  connected,
  makeNeighbours,
  type PeerServer,
  showPeer,
  startPeer,
  stateAt,
  submitAt,
  taskAt,
  taskBecomes,
} from '../support/peer-servers.ts';
import { isAlive, pidIn } from '../support/processes.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { waitUntil } from '../support/wait-until.ts';

const pair = async (): Promise<[PeerServer, PeerServer]> => Promise.all([startPeer('alpha'), startPeer('beta')]);

test('a request to connect is listed on both sides, and lets its sender do nothing', async () => {
  const [alpha, beta] = await pair();
  const sent = await alpha.run(['peer', 'connect', '127.0.0.1', String(beta.port())]);
  expect(sent.stdout).toContain(`Connection request sent to 127.0.0.1 ${beta.port()}`);
  expect(await alpha.peers()).toMatchObject([{ name: 'beta', state: 'sent', id: await beta.id(), priority: null }]);
  expect(await beta.peers()).toMatchObject([{ name: 'alpha', state: 'received', id: await alpha.id() }]);
  // Twice: one entry on each side.
  await alpha.json(['peer', 'connect', '127.0.0.1', String(beta.port())]);
  expect([(await alpha.peers()).length, (await beta.peers()).length]).toEqual([1, 1]);
  await submitAt(beta, '--', 'true');
  alpha.worker();
  // It is dialled again and again, and told each time that nobody answered yet.
  await waitUntil('alpha was told', async () => (await alpha.peers())[0]?.error?.includes('has not answered'));
  expect((await taskAt(beta, '1.1')).state).toBe('queued');
  const listed = await alpha.run(['peer', 'list']);
  expect(listed.stdout).toMatch(/Sent connection requests:\n.*SERVER ID\n.*beta/);
  expect((await beta.run(['peer', 'list'])).stdout).toMatch(/Received connection requests:\n.*SERVER ID\n.*alpha/);
});

test('what cannot be connected is said clearly', async () => {
  const [alpha, beta] = await pair();
  const refused = async (server: PeerServer, argv: string[], code: number, text: RegExp) => {
    const ran = await server.run(argv);
    expect([ran.code, ran.stderr]).toEqual([code, expect.stringMatching(text)]);
  };
  await refused(
    alpha,
    ['peer', 'connect', 'no-such-host.invalid'],
    1,
    /no Pilotage server answers at no-such-host.invalid port 9990/,
  );
  await refused(
    alpha,
    ['peer', 'connect', '127.0.0.1', String(await freePort())],
    1,
    /no Pilotage server answers .*ECONNREFUSED/,
  );
  await refused(alpha, ['peer', 'connect', '127.0.0.1', String(alpha.port())], 2, /is this server itself/);
  await refused(alpha, ['peer', 'trust', 'beta'], 1, /no neighbour and no request 'beta'/);
  await alpha.json(['peer', 'connect', '127.0.0.1', String(beta.port())]);
  await refused(alpha, ['peer', 'trust', 'beta'], 1, /this server asked 'beta'/);
  await beta.json(['peer', 'trust', 'alpha']);
  await connected(alpha, beta);
  await refused(alpha, ['peer', 'connect', '127.0.0.1', String(beta.port())], 1, /is trusted already/);
  await refused(beta, ['peer', 'trust', 'alpha'], 1, /is trusted already/);
});

test('trusted on both sides: both list the other, and each answers to a ping of the other', async () => {
  const [alpha, beta] = await pair();
  await makeNeighbours(alpha, beta);
  expect(await alpha.peers()).toMatchObject([{ name: 'beta', state: 'connected', priority: 0, port: beta.port() }]);
  expect(await beta.peers()).toMatchObject([{ name: 'alpha', state: 'connected', priority: 0, port: alpha.port() }]);
  for (const [one, other] of [
    [alpha, beta],
    [beta, alpha],
  ] as const) {
    const id = await other.id();
    const pong = await one.json<PingReply>(['peer', 'ping', id.slice(0, 12)]);
    expect(pong.path).toEqual([await one.id(), id]);
  }
  expect((await showPeer(alpha, 'beta')).topology.map(({ name }) => name)).toEqual(['alpha', 'beta']);
});

test('two servers that ask each other want each other', async () => {
  const [alpha, beta] = await pair();
  await alpha.json(['peer', 'connect', '127.0.0.1', String(beta.port())]);
  await beta.json(['peer', 'connect', '127.0.0.1', String(alpha.port())]);
  await connected(alpha, beta);
});

test('a request is taken back, and refused', async () => {
  const [alpha, beta] = await pair();
  await alpha.json(['peer', 'connect', '127.0.0.1', String(beta.port())]);
  await alpha.json(['peer', 'revoke', 'beta']);
  await waitUntil('neither knows of it', async () => (await alpha.peers()).length === 0);
  await alpha.json(['peer', 'connect', '127.0.0.1', String(beta.port())]);
  await beta.json(['peer', 'revoke', 'alpha']);
  expect(await beta.peers()).toEqual([]);
  await waitUntil('alpha hears of it', async () => (await alpha.peers())[0]?.error?.includes('knows no request'));
});

test('the end of a trust ends it on both sides: the tasks are their own again, and nothing gets in any more', async () => {
  const [alpha, beta] = await pair();
  await makeNeighbours(alpha, beta);
  beta.worker();
  const marks = temporaryDirectory();
  const id = await submitAt(alpha, '--', 'sh', '-c', `echo ran >> ${marks}/runs; sleep 600`);
  await taskBecomes(alpha, `${id}.1`, 'running');
  await waitUntil('it runs at beta', () => readFileSync(`${marks}/runs`, 'utf8').length > 0);
  await beta.json(['peer', 'revoke', 'alpha']);
  await taskBecomes(alpha, `${id}.1`, 'queued');
  await waitUntil('alpha knows', async () => (await stateAt(alpha, 'beta')) === 'revoked');
  expect(await beta.peers()).toEqual([]);
  await waitUntil('nothing of it is left at beta', async () => {
    const { tasks } = await beta.json<{ tasks: unknown[] }>(['status']).catch(() => ({ tasks: [] }));
    return (tasks ?? []).length === 0;
  });
  const ping = await alpha.run(['peer', 'ping', 'beta']);
  expect(ping.code).not.toBe(0);
  // A task that is submitted now stays at home.
  alpha.worker();
  await taskBecomes(alpha, `${id}.1`, 'running');
  // And they may begin anew.
  await alpha.json(['peer', 'connect', '127.0.0.1', String(beta.port())]);
  await beta.json(['peer', 'trust', 'alpha']);
  await connected(alpha, beta);
});

test('who was away when the trust ended hears of it when it is back, and then asks no more', async () => {
  const [alpha, beta] = await pair();
  await makeNeighbours(alpha, beta);
  await beta.kill();
  await alpha.json(['peer', 'revoke', 'beta']);
  await beta.start();
  await waitUntil('beta knows', async () => (await stateAt(beta, 'alpha')) === 'revoked');
  expect(await alpha.peers()).toEqual([]);
  // In the time that this takes it would have asked several times.
  beta.worker();
  const id = await submitAt(beta, '--', 'sleep', '4');
  await taskBecomes(beta, `${id}.1`, 'succeeded');
  expect(beta.log().split('the trust between two servers is over')).toHaveLength(2);
});

test('only administrators deal with neighbours, and only neighbours ask over links', async () => {
  const [alpha, beta] = await pair();
  const file = path.join(temporaryDirectory(), 'token');
  await alpha.json(['token', 'create', '--name', 'anna', '--scope', 'submit', '--scope', 'work', '--to', file]);
  for (const argv of [['list'], ['connect', '127.0.0.1', String(beta.port())], ['trust', 'beta'], ['revoke', 'beta']]) {
    const ran = await alpha.run([
      '--token-file',
      file,
      '--server',
      `http://127.0.0.1:${alpha.port()}`,
      'peer',
      ...argv,
    ]);
    expect([ran.code, ran.stderr]).toEqual([2, expect.stringContaining("takes 'admin'")]);
  }
  const answer = await fetch(`http://127.0.0.1:${alpha.port()}/api/v1/link/news`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${adminToken({ data: alpha.data, url: () => '' })}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify({ version: '1', name: 'x', places: [], terms: {}, demand: [], map: [] }),
  });
  expect([answer.status, ((await answer.json()) as { detail: string }).detail]).toEqual([
    403,
    expect.stringContaining('links of neighbours only'),
  ]);
});

test('a task of a neighbour runs with its files, its output is followed, its results come home', async () => {
  const [alpha, beta] = await pair();
  await makeNeighbours(alpha, beta);
  beta.worker();
  const here = temporaryDirectory();
  mkdirSync(`${here}/in/deep`, { recursive: true });
  writeFileSync(`${here}/in/deep/a.txt`, 'deep');
  writeFileSync(`${here}/big.bin`, Buffer.alloc(3_000_000, 7));
  writeFileSync(
    `${here}/run.sh`,
    'cat in/deep/a.txt; mkdir -p out/sub; cp in/deep/a.txt out/sub/; cp big.bin out/; head -c 200000 /dev/zero | tr "\\0" x >&2\n' +
      'printf \'{"fraction":0.5,"message":"half"}\\n\' >> "$PILOTAGE_PROGRESS_FILE"; env | grep ^PILOTAGE_ > env.txt; until [ -e "$1" ]; do sleep 0.1; done\n',
  );
  const go = `${here}/go`;
  const id = await submitAt(
    alpha,
    ...['--input', `${here}/in`, '--input', `${here}/big.bin`, '--input', `${here}/run.sh`],
    ...['--output', 'out/', '--output', 'env.txt', '--', 'sh', 'run.sh', go],
  );
  const follower = alpha.command(['logs', '-f', `${id}.1`]);
  await waitUntil('its output is seen while it runs', () => follower.stdout().includes('deep'));
  await waitUntil('its progress is seen', async () => (await taskAt(alpha, `${id}.1`)).progress?.message === 'half');
  expect(await taskAt(alpha, `${id}.1`)).toMatchObject({ state: 'running', worker: '@beta' });
  expect((await alpha.run(['why', `${id}.1`])).stdout).toMatch(
    /the neighbour @beta has had it for .*, was heard of .* ago$/m,
  );
  const refused = await beta.run(['submit', '--project', '@alpha/default', '--', 'true']);
  expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('came from a neighbour')]);
  await beta.kill();
  await waitUntil('beta is unreachable', async () => (await stateAt(alpha, 'beta')) === 'unreachable');
  expect((await alpha.run(['why', `${id}.1`])).stdout).toContain('ago, and cannot be reached now');
  const next = await submitAt(alpha, '--', 'true');
  expect((await alpha.run(['why', `${next}.1`])).stdout).toContain('beta cannot be reached now');
  await beta.start();
  await connected(alpha, beta);
  await taskBecomes(alpha, `${next}.1`, 'succeeded');
  expect((await alpha.run(['why', `${next}.1`])).stdout).toContain('succeeded on the neighbour @beta');
  writeFileSync(go, '');
  await taskBecomes(alpha, `${id}.1`, 'succeeded');
  expect((await follower.done).code).toBe(0);
  const to = `${here}/results`;
  expect((await alpha.run(['results', `${id}.1`, '--to', to])).code).toBe(0);
  expect(readFileSync(`${to}/out/sub/a.txt`, 'utf8')).toBe('deep');
  expect(readFileSync(`${to}/out/big.bin`).length).toBe(3_000_000);
  const env = readFileSync(`${to}/env.txt`, 'utf8');
  expect(env).toContain(`PILOTAGE_TASK_ID=${id}.1\n`);
  expect(env).toContain('PILOTAGE_PROJECT=default\n');
  expect((await alpha.run(['logs', `${id}.1`])).stderr.length).toBe(200_000);
  await waitUntil('beta keeps nothing of it in its lists', async () => (await beta.peers())[0]?.here === 0);
  expect((await alpha.peers())[0]?.borrowedHours).toBe((await beta.peers())[0]?.lentHours);
});

test('a cancelled task ends at the neighbour, a failed one says why, and a lost worker there is charged', async () => {
  const [alpha, beta] = await pair();
  await makeNeighbours(alpha, beta);
  const worker = beta.worker();
  const marks = temporaryDirectory();
  const id = await submitAt(alpha, '--', 'sh', '-c', `echo $$ > ${marks}/pid; exec sleep 600`);
  const pid = await waitUntil('it runs', () => pidIn(`${marks}/pid`));
  await alpha.json(['cancel', id]);
  await waitUntil('its program is gone', () => !isAlive(pid));
  const failing = await submitAt(alpha, '--retries', '1', '--', 'sh', '-c', 'echo sorry >&2; exit 3');
  const failed = await taskBecomes(alpha, `${failing}.1`, 'failed');
  expect(failed).toMatchObject({ exitCode: 3, reason: 'exit-code', attempt: 2 });
  expect((await alpha.run(['logs', `${failing}.1`])).stderr).toContain('sorry');
  const long = await submitAt(alpha, '--', 'sleep', '600');
  await taskBecomes(alpha, `${long}.1`, 'running');
  await waitUntil('it is there', async () => (await beta.peers())[0]?.here === 1);
  worker.child.kill('SIGKILL');
  const charged = await waitUntil('it is charged at home', async () => {
    const task = await taskAt(alpha, `${long}.1`);
    return task.attempts.some(({ outcome }) => outcome === 'lost') ? task : undefined;
  });
  expect(['queued', 'running']).toContain(charged.state);
});
