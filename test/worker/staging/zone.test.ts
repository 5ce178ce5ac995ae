import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import type { HolderFault } from '../../../src/ground/protocol/zone.ts';
import { freePort } from '../../support/free-port.ts';
import { startTinyPool, type TinyPool } from '../../support/tiny-pool.ts';
import { publicText } from '../../support/tiny-zone.ts';
import { waitUntil } from '../../support/wait-until.ts';
import { startZoneNode } from '../../support/zone-node.ts';

const SIZE = 2_000_000;

let pool: TinyPool;
beforeEach(async () => {
  const started = await startTinyPool();
  onTestFinished(() => started.close());
  pool = started;
});

const put = (size = SIZE) => pool.put(randomBytes(size));
const isRight = (file: string, digest: string) =>
  createHash('sha256').update(readFileSync(file)).digest('hex') === digest;
const faults = (): HolderFault[] => pool.zone.asked.flatMap((question) => question.faults ?? []);
const holds = (digest: string, session: string) => pool.zone.holders.get(digest)?.get(session)?.complete === true;

/** A node that has a blob, and is known to have it. */
const holder = async (digest: string) => {
  const node = await startZoneNode(pool);
  await node.get(digest);
  await waitUntil('the server knows', () => holds(digest, node.session));
  return node;
};

/** Something that answers as a worker might, but does what the test wants. */
const impostor = async (answer: (request: http.IncomingMessage, response: http.ServerResponse) => void) => {
  const server = http.createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
};
const nameOnce = (peer: { addresses: string[]; complete?: boolean; holder?: string }) => {
  pool.zone.choose = () => {
    pool.zone.choose = () => undefined;
    return { holder: 'odd', complete: true, ticket: 'x', ...peer };
  };
};

describe('a blob in a zone', () => {
  test('comes from the server once, and from a worker of the zone then', async () => {
    const digest = put();
    await holder(digest);
    const second = await startZoneNode(pool);
    await second.get(digest);
    expect(isRight(second.blob(digest), digest)).toBe(true);
    expect(pool.downloads).toEqual([{ digest, start: 0 }]);
    await waitUntil('the server knows', () => holds(digest, second.session));
  });

  test('that is small comes from the server, and nobody is sent to fetch it elsewhere', async () => {
    const digest = put(1000);
    const node = await startZoneNode(pool);
    await node.get(digest);
    await waitUntil('the server knows', () => pool.zone.holders.get(digest)?.has(node.session) === false);
  });

  test('is told to the server when it was there before, and when it went', async () => {
    const digest = put();
    const node = await startZoneNode(pool, { maxBytes: SIZE + 1000 });
    await node.get(digest);
    await waitUntil('the server knows', () => holds(digest, node.session));
    await node.get(put());
    await waitUntil('the server knows', () => !pool.zone.holders.get(digest)?.has(node.session));
  });

  test('passes through workers that are still fetching it, down to all but its end', async () => {
    const digest = put();
    const gate = Promise.withResolvers<void>();
    pool.sending = (_, offset) => (offset >= SIZE / 2 ? gate.promise : undefined);
    const chain: Awaited<ReturnType<typeof startZoneNode>>[] = [];
    const coming = [];
    for (let at = 0; at < 4; at += 1) {
      const node = await startZoneNode(pool, { patience: { passingStallMs: 20_000 } });
      chain.push(node);
      coming.push(node.get(digest));
      await waitUntil('the fetch', () => pool.zone.asked.length === at + 1);
    }
    await waitUntil('the beginning is everywhere', () =>
      chain.every(({ cache }) => (cache.arriving(digest)?.received ?? 0) >= SIZE / 2 - 70_000),
    );
    gate.resolve();
    await Promise.all(coming);
    for (const { blob } of chain) expect(isRight(blob(digest), digest)).toBe(true);
    expect(pool.downloads).toHaveLength(1);
  });

  test('whose bytes turn out wrong while they pass through is cut off, and comes whole in the end', async () => {
    const digest = put();
    const right = pool.blobs.get(digest) as Buffer;
    const liar = await impostor((_, response) => {
      response.writeHead(200, { 'content-length': SIZE });
      response.write(Buffer.alloc(SIZE - 1));
      void waitUntil('the second is reading', () => (second.cache.arriving(digest)?.received ?? 0) > SIZE / 2).then(
        () => response.end('x'),
      );
    });
    const [first, second] = [await startZoneNode(pool), await startZoneNode(pool)];
    pool.zone.choose = (session) => {
      const asked = pool.zone.asked.filter((question) => question.session === session).length;
      if (asked > 1) return undefined;
      return session === first.session
        ? { holder: 'liar', complete: true, addresses: [liar], ticket: 'x' }
        : first.asPeer(digest, false);
    };
    const one = first.get(digest);
    await waitUntil('the first fetches', () => first.cache.arriving(digest)?.size !== undefined);
    const other = second.get(digest);
    await Promise.all([one, other]);
    for (const node of [first, second]) expect(readFileSync(node.blob(digest)).equals(right)).toBe(true);
    expect(faults()).toContainEqual({ holder: 'liar', what: 'wrong-bytes' });
    expect(faults()).not.toContainEqual({ holder: first.session, what: 'wrong-bytes' });
  });
});

describe('a holder that is', () => {
  test('dead is reported, and the server gives the blob', async () => {
    const digest = put();
    const node = await startZoneNode(pool);
    nameOnce({ addresses: [`http://127.0.0.1:${await freePort()}`] });
    await node.get(digest);
    expect(isRight(node.blob(digest), digest)).toBe(true);
    expect(faults()).toEqual([{ holder: 'odd', what: 'unreachable' }]);
  });

  test('killed in the middle is gone on from, by another one', async () => {
    const digest = put();
    const good = await holder(digest);
    const bytes = pool.blobs.get(digest) as Buffer;
    const dying = await impostor((_, response) => {
      response.writeHead(200, { 'content-length': SIZE });
      response.write(bytes.subarray(0, SIZE / 2), () => response.destroy());
    });
    const node = await startZoneNode(pool);
    pool.zone.choose = (_, { faults: known = [] }) =>
      known.length === 0 ? { holder: 'odd', complete: true, addresses: [dying], ticket: 'x' } : good.asPeer(digest);
    await node.get(digest);
    expect(isRight(node.blob(digest), digest)).toBe(true);
    expect(faults()).toEqual([{ holder: 'odd', what: 'unreachable' }]);
    expect(pool.downloads).toHaveLength(1);
  });

  test.each([
    ['silent', () => {}, 'unreachable'],
    ['stalled', (response: http.ServerResponse) => response.write(Buffer.alloc(1000)), 'unreachable'],
    ['slow', (response: http.ServerResponse) => trickle(response), 'slow'],
    ['busy', undefined, 'slow'],
  ] as const)('%s is left, and the server gives the rest', async (how, act, what) => {
    const digest = put();
    const bytes = pool.blobs.get(digest) as Buffer;
    bytes.fill(0, 0, 100_000);
    const renamed = pool.put(bytes);
    const address = await impostor((_, response) => {
      if (act === undefined) response.writeHead(503).end();
      else if (how === 'silent') return;
      else {
        response.writeHead(200, { 'content-length': SIZE });
        act(response);
      }
    });
    const node = await startZoneNode(pool);
    nameOnce({ addresses: [address] });
    await node.get(renamed);
    expect(isRight(node.blob(renamed), renamed)).toBe(true);
    expect(faults()).toEqual([{ holder: 'odd', what }]);
    if (how === 'stalled' || how === 'slow') expect(pool.downloads[0]?.start).toBeGreaterThan(0);
  });

  test('lying is found out, and only the liar among those who gave parts', async () => {
    const digest = put();
    const good = await holder(digest);
    const liar = await impostor((_, response) => {
      response.writeHead(200, { 'content-length': SIZE });
      response.write(Buffer.alloc(SIZE / 2), () => response.destroy());
    });
    const node = await startZoneNode(pool);
    const before = pool.downloads.length;
    pool.zone.choose = (_, { faults: known = [] }) =>
      known.length === 0 ? { holder: 'liar', complete: true, addresses: [liar], ticket: 'x' } : good.asPeer(digest);
    await node.get(digest);
    expect(isRight(node.blob(digest), digest)).toBe(true);
    expect(faults().filter(({ what }) => what === 'wrong-bytes')).toEqual([{ holder: 'liar', what: 'wrong-bytes' }]);
    expect(pool.downloads.slice(before)).toEqual([{ digest, start: 0 }]);
  });

  test('damaged on its disk gives nothing wrong out', async () => {
    const digest = put();
    const bad = await holder(digest);
    chmodSync(bad.blob(digest), 0o644);
    writeFileSync(bad.blob(digest), Buffer.alloc(SIZE), { flag: 'r+' });
    const node = await startZoneNode(pool);
    await node.get(digest);
    expect(isRight(node.blob(digest), digest)).toBe(true);
    expect(faults()).toEqual([{ holder: bad.session, what: 'gone' }]);
  });

  test('out of order three times is enough: the server is asked', async () => {
    const digest = put();
    const node = await startZoneNode(pool);
    const nobody = `http://127.0.0.1:${await freePort()}`;
    pool.zone.choose = () => ({
      holder: `h${pool.zone.asked.length}`,
      complete: true,
      addresses: [nobody],
      ticket: 'x',
    });
    await node.get(digest);
    expect(pool.zone.asked.map(({ serverOnly }) => serverOnly === true)).toEqual([false, false, false, true]);
    expect(faults()).toHaveLength(3);
  });

  test('named by nobody, because the server does not say, is not needed', async () => {
    const digest = put();
    pool.fail = (path) => (path.endsWith('/source') ? { status: 500, code: 'internal' } : undefined);
    const node = await startZoneNode(pool);
    await node.get(digest);
    expect(isRight(node.blob(digest), digest)).toBe(true);
  });
});

describe('a ticket', () => {
  test('of the server opens one blob, from any offset', async () => {
    const digest = put();
    const node = await holder(digest);
    const answer = await node.ask(digest, pool.zone.ticket(digest, node.session), { range: `bytes=${SIZE - 5}-` });
    expect([answer.status, answer.headers.get('content-range')]).toEqual([
      206,
      `bytes ${SIZE - 5}-${SIZE - 1}/${SIZE}`,
    ]);
    expect(Buffer.from(await answer.arrayBuffer())).toEqual(pool.blobs.get(digest)?.subarray(-5));
  });

  test.each([
    ['not one at all', 401, () => 'x'],
    ['forged', 401, (facts: Facts) => pool.zone.sign(facts, generateKeyPairSync('ed25519').privateKey)],
    ['cut', 401, (facts: Facts) => pool.zone.sign(facts).slice(0, -4)],
    ['for another blob', 403, (facts: Facts) => pool.zone.sign({ ...facts, digest: 'f'.repeat(64) })],
    ['for another holder', 403, (facts: Facts) => pool.zone.sign({ ...facts, holder: 'other' })],
    ['expired', 403, (facts: Facts) => pool.zone.sign({ ...facts, expires: pool.clock() - 1 })],
  ])('that is %s is refused', async (_, status, make) => {
    const digest = put();
    const node = await holder(digest);
    const facts = { digest, holder: node.session, expires: pool.clock() + 60_000 };
    const answer = await node.ask(digest, make(facts));
    expect(answer.status).toBe(status);
    expect(await answer.text()).toMatch(/^[^\n]+\n$/);
  });

  test('expires by the clock of the server, whatever that of the worker says', async () => {
    pool.clock = () => Date.now() - 86_400_000;
    const digest = put();
    const node = await holder(digest);
    const until = (expires: number) => node.ask(digest, pool.zone.sign({ digest, holder: node.session, expires }));
    const good = await until(pool.clock() + 30_000);
    expect(good.status).toBe(200);
    await good.body?.cancel();
    expect((await until(pool.clock() - 1000)).status).toBe(403);
  });

  test('signed with a key that came later is good, and keys are not asked for at every bad one', async () => {
    const digest = put();
    const node = await holder(digest);
    const later = generateKeyPairSync('ed25519');
    pool.zone.keys.push(publicText(later.publicKey));
    const facts = { digest, holder: node.session, expires: pool.clock() + 60_000 };
    const answer = await node.ask(digest, pool.zone.sign(facts, later.privateKey));
    expect(answer.status).toBe(200);
    await answer.body?.cancel();
    for (let i = 0; i < 20; i += 1) await node.ask(digest, 'a.b');
    const other = generateKeyPairSync('ed25519').privateKey;
    for (let i = 0; i < 20; i += 1) await node.ask(digest, pool.zone.sign(facts, other));
    expect(pool.zone.keysAsked).toBeLessThan(4);
  });

  test('is needed for everything: there is no list, and no other call', async () => {
    const digest = put();
    const node = await holder(digest);
    const statusOf = async (path: string, method = 'GET') => (await fetch(node.address + path, { method })).status;
    expect(await statusOf(`/blobs/${digest}`)).toBe(401);
    expect(await statusOf('/')).toBe(404);
    expect(await statusOf('/blobs')).toBe(404);
    expect(await statusOf('/blobs/../index')).toBe(404);
    expect(await statusOf(`/blobs/${digest}`, 'PUT')).toBe(404);
    expect((await node.ask('a'.repeat(64), pool.zone.ticket('a'.repeat(64), node.session))).status).toBe(404);
  });
});

interface Facts {
  readonly digest: string;
  readonly holder: string;
  readonly expires: number;
}

function trickle(response: http.ServerResponse): void {
  const timer = setInterval(() => response.write(Buffer.alloc(1000)), 100);
  response.once('close', () => clearInterval(timer));
}
