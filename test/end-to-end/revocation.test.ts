import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Client } from '../../src/ground/client/client.ts';
import { patiently } from '../../src/ground/client/patience.ts';
import { routes } from '../../src/ground/protocol/routes.ts';
import { adminToken, clientOf, handWorker } from '../support/api.ts';
import { type RunningServer, startServer } from '../support/running-server.ts';
import { waitUntil } from '../support/wait-until.ts';

const PASSWORD = 'correct horse';
/** What takes longer did not end by the revocation. */
const SOON_MS = 6000;

/** A stream, and what came of it so far. */
function follow(answer: Response) {
  const seen = { text: '', ended: false, broken: false };
  const read = async () => {
    for await (const piece of answer.body as AsyncIterable<Uint8Array>) seen.text += Buffer.from(piece).toString();
  };
  void read()
    .catch(() => {
      seen.broken = true;
    })
    .finally(() => {
      seen.ended = true;
    });
  return seen;
}

const codeOf = (act: Promise<unknown>): Promise<string> =>
  act.then(
    () => 'answered',
    (error: { code?: string }) => error.code ?? String(error),
  );

describe('what is open when somebody may not any more', () => {
  let server: RunningServer;
  let admin: Client;
  let count = 0;
  let name: string;
  let project: string;
  let eve: { token: string; client: Client };

  beforeAll(async () => {
    server = await startServer();
    admin = clientOf(server);
  });
  afterAll(() => server[Symbol.asyncDispose]());
  beforeEach(async () => {
    count += 1;
    name = `eve${count}`;
    project = `private${count}`;
    await admin.call(routes.createProject, { body: { name: project } });
    await admin.call(routes.addUser, { body: { name, password: PASSWORD } });
    await admin.call(routes.grantProject, { params: { project, user: name } });
    const { token } = await admin.call(routes.login, { body: { user: name, password: PASSWORD } });
    eve = { token, client: clientOf(server, token) };
  });

  const submit = async (payload: string, into = project) => {
    const steps = [{ spec: { command: ['true'] }, items: [{ payload }] }];
    const { submissions } = await admin.call(routes.submit, { body: { project: into, steps } });
    return submissions[0]?.id ?? 0;
  };
  const removeEve = () => admin.call(routes.removeUser, { params: { user: name }, query: {} });
  const revokeGrant = () => admin.call(routes.revokeProject, { params: { project, user: name } });
  const feedOf = async (path: string, user = name) => {
    const authorization = `Basic ${Buffer.from(`${user}:${PASSWORD}`).toString('base64')}`;
    return fetch(`${server.url()}/couchdb/${path}`, { headers: { authorization } });
  };
  const put = (text: string, into = project) =>
    fetch(`${server.url()}/couchdb/${into}/${text}`, {
      method: 'PUT',
      headers: { authorization: `Bearer ${adminToken(server)}`, 'content-type': 'application/json' },
      body: JSON.stringify({ text }),
    });
  /** What was sent before is there by the time later calls are answered. */
  const arrived = async () => {
    for (let i = 0; i < 5; i += 1) await eve.client.call(routes.whoami);
  };
  const wait = (client: Client, id: number) =>
    client.call(routes.submission, { params: { id }, query: { waitSeconds: 20, finishedOnly: true } });

  test('a poll and a log of a user who is removed', async () => {
    const id = await submit('x');
    const poll = codeOf(wait(eve.client, id));
    const url = `${server.url()}/api/v1/tasks/${id}.1/logs?follow=true`;
    const log = fetch(url, { headers: { authorization: `Bearer ${eve.token}` } }).then((answer) => answer.text());
    await arrived();
    const begun = performance.now();
    await removeEve();
    expect(await poll).toBe('unauthenticated');
    // It tells of no end: the task has not come to one.
    expect(await log).toBe('');
    expect(performance.now() - begun).toBeLessThan(SOON_MS);
  });

  test('a poll of a token that is revoked, and of one that runs out', async () => {
    const id = await submit('x');
    const facts = { name: 't', scopes: ['read' as const] };
    const revoked = await admin.call(routes.createToken, { body: facts });
    const short = await admin.call(routes.createToken, { body: { ...facts, expiresInSeconds: 2 } });
    const polls = [revoked, short].map(({ token }) => codeOf(wait(clientOf(server, token), id)));
    await arrived();
    const begun = performance.now();
    await admin.call(routes.revokeToken, { params: { id: revoked.id } });
    expect(await polls[0]).toBe('unauthenticated');
    expect(await polls[1]).toBe('unauthenticated');
    expect(performance.now() - begun).toBeLessThan(SOON_MS);
  });

  test('a poll of a session that ends, and not that of another session', async () => {
    const id = await submit('x');
    const { token } = await admin.call(routes.login, { body: { user: name, password: PASSWORD } });
    const polls = [eve.token, token].map((one) => codeOf(wait(clientOf(server, one), id)));
    await arrived();
    await eve.client.call(routes.logout);
    expect(await polls[0]).toBe('unauthenticated');
    expect(await Promise.race([polls[1], 'open'])).toBe('open');
    await admin.call(routes.cancel, { body: { targets: [String(id)] } });
    expect(await polls[1]).toBe('answered');
  });

  test('a poll of a member whose grant is taken: it is asked anew, and nothing is there', async () => {
    const id = await submit('x');
    const poll = codeOf(patiently(() => wait(eve.client, id), {}));
    await arrived();
    const begun = performance.now();
    await revokeGrant();
    expect(await poll).toBe('not-found');
    expect(performance.now() - begun).toBeLessThan(SOON_MS);
  });

  test('the exchange of a worker, which takes nothing on its way out', async () => {
    const body = { name: 'w', scopes: ['work' as const], projects: [project] };
    const { token, id } = await admin.call(routes.createToken, { body });
    const worker = await handWorker(clientOf(server, token), 'w');
    await worker.exchange({ most: 1 });
    const poll = codeOf(worker.exchange({ most: 1, waitSeconds: 20 }));
    await arrived();
    await admin.call(routes.revokeToken, { params: { id } });
    const secret = await submit('SECRET');
    expect(await poll).toBe('unauthenticated');
    expect((await admin.call(routes.task, { params: { id: `${secret}.1` } })).state).toBe('queued');
    await admin.call(routes.cancel, { body: { targets: [String(secret)] } });
  });

  test('feeds of the CouchDB face, and not those of other projects', async () => {
    const other = `${project}-other`;
    await admin.call(routes.createProject, { body: { name: other } });
    await admin.call(routes.grantProject, { params: { project: other, user: name } });
    const [lost, kept] = await Promise.all(
      [project, other].map(async (one) => follow(await feedOf(`${one}/_changes?feed=continuous&heartbeat=500`))),
    );
    const long = await feedOf(`${project}/_changes?feed=longpoll&timeout=60000&since=now`);
    await waitUntil('it is followed', () => lost?.text.includes('\n'));
    await revokeGrant();
    await waitUntil('the feed ends', () => lost?.ended);
    expect(lost?.broken).toBe(false);
    await put('hidden');
    await put('shown', other);
    await waitUntil('the other feed goes on', () => kept?.text.includes('shown'));
    expect(lost?.text).not.toContain('hidden');
    expect(JSON.parse(await long.text())).toMatchObject({ results: [] });
    await removeEve();
    await waitUntil('the other feed ends', () => kept?.ended);
    await put('late', other);
    expect(kept?.text).not.toContain('late');
  });

  test('a feed of somebody whom the project lists, once it does not', async () => {
    const security = (names: string[]) =>
      fetch(`${server.url()}/couchdb/${project}/_security`, {
        method: 'PUT',
        headers: { authorization: `Bearer ${adminToken(server)}`, 'content-type': 'application/json' },
        body: JSON.stringify({ members: { names } }),
      });
    await revokeGrant();
    await security([name]);
    const feed = follow(await feedOf(`${project}/_changes?feed=continuous&heartbeat=500`));
    await waitUntil('it is followed', () => feed.text.includes('\n'));
    await security([]);
    await waitUntil('the feed ends', () => feed.ended);
  });

  test('a download that is read slowly', async () => {
    const bytes = randomBytes(32 * 1024 * 1024);
    const digest = createHash('sha256').update(bytes).digest('hex');
    await admin.call(routes.putBlob, { params: { project, digest }, raw: bytes });
    const answer = await fetch(`${server.url()}/api/v1/projects/${project}/blobs/${digest}`, {
      headers: { authorization: `Bearer ${eve.token}` },
    });
    expect(answer.status).toBe(200);
    const reader = answer.body?.getReader();
    await reader?.read();
    await removeEve();
    let end: 'cut' | 'whole' | undefined;
    await waitUntil('it ends, read piece by piece', async () => {
      const piece = await reader?.read().catch(() => 'cut' as const);
      if (piece === 'cut') end = 'cut';
      else if (piece?.done) end = 'whole';
      return end !== undefined;
    });
    expect(end).toBe('cut');
  });
});
