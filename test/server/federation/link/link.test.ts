import { createHash, randomBytes } from 'node:crypto';
import type http2 from 'node:http2';
import { duplexPair, Readable } from 'node:stream';
import { expect, onTestFinished, test } from 'vitest';
import type { WireRequest } from '../../../../src/ground/client/transport.ts';
import { createLink, type Link } from '../../../../src/server/federation/link/link.ts';

type Answer = (request: http2.Http2ServerRequest, response: http2.Http2ServerResponse) => void;

const textOf = async (body: AsyncIterable<unknown>): Promise<string> => {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
};
/** Says who it is, where it was asked, and what it was told. */
const echo =
  (name: string): Answer =>
  async (request, response) => {
    const body = await textOf(request);
    response.end(`${name} ${request.url} ${body}`);
  };

function pair(answers: { near?: Answer; far?: Answer } = {}): { near: Link; far: Link; sessions: number } {
  const [a, b] = duplexPair();
  const counted = { sessions: 0 };
  const onSession = () => {
    counted.sessions += 1;
  };
  const near = createLink({
    peer: 'f'.repeat(64),
    socket: a,
    isDialled: true,
    answer: answers.near ?? echo('near'),
    onSession,
  });
  const far = createLink({
    peer: 'e'.repeat(64),
    socket: b,
    isDialled: false,
    answer: answers.far ?? echo('far'),
    onSession,
  });
  onTestFinished(() => {
    near.close();
    far.close();
  });
  return {
    near,
    far,
    get sessions() {
      return counted.sessions;
    },
  };
}

const ask = (link: Link, path: string, over: Partial<WireRequest> = {}) =>
  link.send({ method: 'POST', path, headers: {}, timeoutSeconds: 20, ...over });

test('both sides ask at once, many times, and each gets the answer to its own', async () => {
  const { near, far } = pair();
  const asked = Array.from({ length: 200 }, async (_, i) => {
    const [link, other] = i % 2 === 0 ? [near, 'far'] : [far, 'near'];
    const answer = await ask(link, `/${i}`, { body: `b${i}` });
    expect([answer.status, await textOf(answer.body)]).toEqual([200, `${other} /${i} b${i}`]);
  });
  await Promise.all(asked);
});

test('large bodies pass in both directions at once, unharmed', async () => {
  const sum: Answer = async (request, response) => {
    const hash = createHash('sha256');
    for await (const chunk of request) hash.update(chunk as Buffer);
    response.end(hash.digest('hex'));
  };
  const { near, far } = pair({ near: sum, far: sum });
  const blocks = Array.from({ length: 12 }, () => randomBytes(2_000_000));
  const expected = createHash('sha256').update(Buffer.concat(blocks)).digest('hex');
  const answers = await Promise.all(
    [near, far, near, far].map((link) => ask(link, '/', { body: Readable.from(blocks) })),
  );
  for (const { body } of answers) expect(await textOf(body)).toBe(expected);
});

test('a small answer whose reader comes late is not lost', async () => {
  const { near } = pair();
  const { body } = await ask(near, '/', { body: 'hello' });
  // By then the answer has come in whole, and its stream is over.
  await near.ping();
  await near.ping();
  await new Promise((resolve) => setImmediate(resolve));
  expect(await textOf(body)).toBe('far / hello');
});

test('an answer as large as it likes waits for its reader', async () => {
  const block = randomBytes(1_000_000);
  const { near } = pair({ far: (_request, response) => void Readable.from(Array(40).fill(block)).pipe(response) });
  const { body } = await ask(near, '/');
  let size = 0;
  for await (const chunk of body) size += (chunk as Buffer).length;
  expect(size).toBe(40_000_000);
});

test('a request that is given up is known to be so on the other side, and the link goes on', async () => {
  const closed = Promise.withResolvers<void>();
  const arrived = Promise.withResolvers<void>();
  const { near } = pair({
    far: (request, response) => {
      if (request.url === '/ok') return void response.end('ok');
      arrived.resolve();
      response.once('close', closed.resolve);
    },
  });
  const stop = new AbortController();
  const waiting = ask(near, '/never', { signal: stop.signal });
  waiting.catch(() => undefined);
  await arrived.promise;
  stop.abort();
  await expect(waiting).rejects.toThrow(/cannot be reached|cut/);
  await closed.promise;
  expect(await textOf((await ask(near, '/ok')).body)).toBe('ok');
  // One that was given up before it began is not sent.
  await expect(ask(near, '/never', { signal: stop.signal })).rejects.toThrow();
});

test('no answer in time is an error, and none when the link ends in the middle', async () => {
  const { near } = pair({ far: () => undefined });
  await expect(ask(near, '/', { timeoutSeconds: 0.05 })).rejects.toThrow(/no answer within 0.05 s/);
  const waiting = ask(near, '/');
  waiting.catch(() => undefined);
  near.close();
  await expect(waiting).rejects.toThrow();
  await expect(ask(near, '/')).rejects.toThrow(/there is no link to it/);
});

test('a ping goes there and back; either side closes for both', async () => {
  const links = pair();
  expect(await links.near.ping()).toBeGreaterThanOrEqual(0);
  expect(await links.far.ping()).toBeGreaterThanOrEqual(0);
  expect(links.sessions).toBe(2);
  links.far.close();
  await Promise.all([links.near.closed, links.far.closed]);
  await expect(links.near.ping()).rejects.toThrow(/the link is gone/);
});
