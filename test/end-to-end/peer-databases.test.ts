import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { missing, POSTGRES } from '../support/debian.ts';
import { connected, makeNeighbours, type PeerServer, startPeer, submitAt, taskAt } from '../support/peer-servers.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { waitUntil } from '../support/wait-until.ts';

const without = missing(POSTGRES);
let postgres: TestPostgres;
beforeAll(async () => {
  if (!without) postgres = await startPostgres();
});
afterAll(() => postgres?.stop());

/** Two servers of one database, one server to neighbours. The first one keeps the links, because it came first. */
async function twins(name: string): Promise<[PeerServer, PeerServer]> {
  const flags = ['--database', await postgres.newDatabase(), '--blobs', temporaryDirectory()];
  const first = await startPeer(name, { flags });
  return [first, await startPeer(name, { flags, sameAs: first })];
}

const runsIn = (file: string): string[] => {
  try {
    return readFileSync(file, 'utf8').split('\n').filter(Boolean);
  } catch {
    return [];
  }
};

test.skipIf(without)(
  'of two servers of one database, at home and where the workers are, the one with the links is killed: every task ends once',
  async () => {
    const [homeOne, homeTwo] = await twins('home');
    const [workOne, workTwo] = await twins('work');
    await homeOne.json(['peer', 'connect', workOne.address(), String(workOne.port())]);
    await workOne.json(['peer', 'trust', 'home']);
    await connected(homeOne, workOne);
    // Workers are at the servers that live on.
    workTwo.worker(['--slots', '4']);
    const marks = path.join(temporaryDirectory(), 'runs');
    const count = 60;
    const id = await submitAt(
      homeOne,
      ...['--array', `1-${count}`, '--output', 'o.txt', '--'],
      ...['sh', '-c', `echo {index} >> ${marks}; echo {index} > o.txt; sleep 1`],
    );
    await waitUntil('some ran', () => runsIn(marks).length > 6, 60);
    await workOne.kill('SIGKILL');
    const before = runsIn(marks).length;
    await waitUntil('more run', () => runsIn(marks).length > before + 12, 90);
    await homeOne.kill('SIGKILL');
    await waitUntil(
      'all are done',
      async () => {
        const { counts } = await homeTwo.json<{ counts: Record<string, number> }>(['status']);
        expect(counts.failed ?? 0).toBe(0);
        return counts.succeeded === count;
      },
      180,
    );
    for (let index = 1; index <= count; index += 1) {
      const { attempts } = await taskAt(homeTwo, `${id}.${index}`);
      expect(attempts.filter(({ outcome }) => outcome === 'succeeded').length).toBe(1);
    }
    await waitUntil('nothing is left there', async () => (await workTwo.peers())[0]?.here === 0, 60);
    // Killing who has the links costs nothing of what its workers have begun.
    expect(runsIn(marks).length).toBe(count);
  },
  600_000,
);

test.skipIf(without)(
  'the server with the links stops for a while, another one of its database takes over, and it comes back: every task ends once',
  async () => {
    const home = await startPeer('home');
    const [workOne, workTwo] = await twins('work');
    await makeNeighbours(home, workOne);
    workTwo.worker(['--slots', '4']);
    const marks = path.join(temporaryDirectory(), 'runs');
    const count = 80;
    const id = await submitAt(home, '--array', `1-${count}`, '--', 'sh', '-c', `echo {index} >> ${marks}; sleep 1`);
    await waitUntil('some ran', () => runsIn(marks).length > 6, 60);
    workOne.signal('SIGSTOP');
    const before = runsIn(marks).length;
    await waitUntil('more run', () => runsIn(marks).length > before + 8, 90);
    workOne.signal('SIGCONT');
    await waitUntil(
      'all are done',
      async () => {
        const { counts } = await home.json<{ counts: Record<string, number> }>(['status']);
        expect(counts.failed ?? 0).toBe(0);
        return counts.succeeded === count;
      },
      180,
    );
    for (let index = 1; index <= count; index += 1) {
      const { attempts } = await taskAt(home, `${id}.${index}`);
      expect(attempts.filter(({ outcome }) => outcome === 'succeeded').length).toBe(1);
    }
    await waitUntil('nothing is left there', async () => (await workTwo.peers())[0]?.here === 0, 60);
    expect(runsIn(marks).length).toBe(count);
  },
  600_000,
);
