import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { peerRoutes } from '../../src/ground/protocol/peer-routes.ts';
import type { Route } from '../../src/ground/protocol/route.ts';
import { routes } from '../../src/ground/protocol/routes.ts';
import type { Scope } from '../../src/ground/protocol/token.ts';
import { adminToken, clientOf, handWorker, raw, succeeded } from '../support/api.ts';
import { type RunningServer, startCommand, startServer } from '../support/running-server.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { waitUntil } from '../support/wait-until.ts';

let server: RunningServer;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server[Symbol.asyncDispose]());

async function token(
  scopes: Scope[],
  projects?: string[],
  expiresInSeconds?: number,
): Promise<{ id: number; token: string }> {
  const body = {
    name: `t-${scopes.join('-')}`,
    scopes,
    ...(projects ? { projects } : {}),
    ...(expiresInSeconds === undefined ? {} : { expiresInSeconds }),
  };
  return clientOf(server).call(routes.createToken, { body });
}

describe('without a token', () => {
  test('every call of the API is refused but for secret links, and nothing is told but the health', async () => {
    for (const route of Object.values(routes) as Route[]) {
      const where = route.path
        .replace(':id', '1')
        .replace(':session', 'x')
        .replace(':project', 'default')
        .replace(':digest', 'a'.repeat(64))
        .replace(':number', '1')
        .replace(':user', 'anna')
        .replace('*', 'x');
      const answer = await raw(server, `${route.method} /api/v1${where}`, route.method === 'GET' ? {} : { body: '{}' });
      // Who has no token may log in, and ask for a job whose secret it knows; here nobody knows any.
      const open = route.path === '/login' ? 400 : 404;
      expect([route.path, answer.status]).toEqual([route.path, route.open ? open : 401]);
      expect(answer.headers.get('content-type')).toContain('application/problem+json');
    }
    for (const where of ['/metrics', '/api/docs', '/api/v1/openapi.json'])
      expect((await raw(server, `GET ${where}`)).status).toBe(401);
    expect(await raw(server, 'GET /healthz')).toMatchObject({ status: 200, text: '{"status":"ok"}' });
  });

  test('a wrong, an expired and a revoked token are told apart, each with what to do', async () => {
    expect((await raw(server, 'GET /api/v1/status', { token: 'wrong' })).json()).toMatchObject({
      status: 401,
      code: 'unauthenticated',
      detail: expect.stringContaining('not known'),
    });
    const short = await token(['read'], undefined, 0.001);
    const expired = await waitUntil('the token to expire', async () => {
      const answer = await raw(server, 'GET /api/v1/status', { token: short.token });
      return answer.status === 401 ? answer : false;
    });
    expect(expired.json().detail).toContain('expired at');
    const gone = await token(['read']);
    expect((await raw(server, 'GET /api/v1/status', { token: gone.token })).status).toBe(200);
    await clientOf(server).call(routes.revokeToken, { params: { id: gone.id } });
    expect((await raw(server, 'GET /api/v1/status', { token: gone.token })).json().detail).toContain('was revoked');
  });

  test('who fails too often is slowed down, and a good token from the same address is let in', async () => {
    const other = await startServer();
    for (let i = 0; i < 20; i += 1)
      expect((await raw(other, 'GET /api/v1/status', { token: `guess${i}` })).status).toBe(401);
    const slowed = await raw(other, 'GET /api/v1/status', { token: 'guess' });
    expect(slowed.status).toBe(429);
    expect(Number(slowed.headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await raw(other, 'GET /api/v1/status', { token: adminToken(other) })).status).toBe(200);
    await other[Symbol.asyncDispose]();
  });
});

describe('a token', () => {
  test('may do what its scopes say and no more', async () => {
    const submission = JSON.stringify({ steps: [{ spec: { command: ['true'] } }] });
    const calls: Array<[string, string | undefined, Scope[]]> = [
      ['GET /api/v1/status', undefined, ['admin', 'submit', 'read']],
      ['POST /api/v1/submissions', submission, ['admin', 'submit']],
      ['POST /api/v1/tasks/cancel', '{"targets":["1"]}', ['admin', 'submit']],
      ['GET /api/v1/tokens', undefined, ['admin']],
      ['POST /api/v1/workers/drain', '{"all":true}', ['admin']],
      ['POST /api/v1/projects', '{"name":"default"}', ['admin']],
    ];
    for (const scope of ['admin', 'submit', 'read', 'work'] as const) {
      const own = await token([scope]);
      for (const [call, body, allowed] of calls) {
        const answer = await raw(server, call, { token: own.token, ...(body === undefined ? {} : { body }) });
        const refused = answer.status === 403;
        expect([scope, call, refused]).toEqual([scope, call, !allowed.includes(scope)]);
      }
    }
  });

  test('of one project sees nothing of another', async () => {
    const admin = clientOf(server);
    await admin.call(routes.createProject, { body: { name: 'mine' } });
    const reply = await admin.call(routes.submit, { body: { steps: [{ spec: { command: ['true'] } }] } });
    const id = String(reply.submissions[0]?.id);
    const mine = await token(['submit', 'work'], ['mine']);
    for (const call of [
      `GET /api/v1/submissions/${id}`,
      `GET /api/v1/tasks/${id}.1`,
      `GET /api/v1/tasks/${id}.1/why`,
      `GET /api/v1/tasks/${id}.1/logs`,
      `GET /api/v1/results/${id}`,
      `GET /api/v1/projects/default/blobs/${'a'.repeat(64)}`,
      'GET /api/v1/status?project=default',
    ]) {
      expect([call, (await raw(server, call, { token: mine.token })).status]).toEqual([call, 404]);
    }
    expect(
      (await raw(server, 'POST /api/v1/tasks/cancel', { token: mine.token, body: JSON.stringify({ targets: [id] }) }))
        .status,
    ).toBe(404);
    expect(
      (
        await raw(server, 'POST /api/v1/submissions', {
          token: mine.token,
          body: JSON.stringify({ project: 'default', steps: [{ spec: {} }] }),
        })
      ).status,
    ).toBe(404);
    const limited = clientOf(server, mine.token);
    expect((await limited.call(routes.tasks, { query: {} })).tasks).toEqual([]);
    expect((await limited.call(routes.projects)).map((project) => project.name)).toEqual(['mine']);
    const worker = await handWorker(limited);
    expect((await worker.exchange()).claims).toEqual([]);
    await admin.call(routes.cancel, { body: { targets: [id] } });
  });

  test('of a worker cannot end or read the attempts of another worker', async () => {
    const admin = clientOf(server);
    const work = clientOf(server, (await token(['work'])).token);
    const reply = await admin.call(routes.submit, {
      body: { steps: [{ spec: { command: ['true'] }, priority: 100 }] },
    });
    const id = reply.submissions[0]?.id as number;
    const first = await handWorker(work, 'first');
    const claim = (await first.exchange({ most: 1 })).claims[0]!;
    expect(claim.task).toBe(`${id}.1`);
    const second = await handWorker(work, 'second');
    expect(
      (await second.exchange({ most: 0, reports: [succeeded({ ...claim, secret: 'guess' })] })).answers,
    ).toMatchObject([{ answer: 'wrong-secret' }]);
    const stolen = work.call(routes.exchange, {
      params: { session: first.session.session },
      headers: { 'x-pilotage-session': second.session.secret },
      body: {
        number: 9,
        held: [],
        reports: [],
        free: { cpus: 0, memory: 0, gpus: 0, named: {} },
        maxClaims: 0,
        waitSeconds: 0,
      },
    });
    await expect(stolen).rejects.toMatchObject({ code: 'session-ended' });
    await expect(work.call(routes.task, { params: { id: claim.task } })).rejects.toMatchObject({ code: 'forbidden' });
    expect((await admin.call(routes.task, { params: { id: claim.task } })).state).toBe('running');
    expect((await first.exchange({ most: 0, reports: [succeeded(claim)] })).answers).toMatchObject([
      { answer: 'accepted' },
    ]);
  });

  test('is on the disk of the server as a hash only, and the administrator’s in a file that only he can read', async () => {
    const own = await token(['read']);
    expect(statSync(path.join(server.data, 'admin-token')).mode & 0o777).toBe(0o600);
    for (const name of readdirSync(server.data).filter((file) => file.startsWith('pilotage.db'))) {
      const bytes = readFileSync(path.join(server.data, name));
      expect([name, bytes.includes(own.token), bytes.includes(adminToken(server))]).toEqual([name, false, false]);
    }
  });

  test('of a task is good for its project while the task runs', async () => {
    const admin = clientOf(server);
    // What others left queued would have its turn.
    await admin.call(routes.cancel, { body: { all: true } });
    const reply = await admin.call(routes.submit, { body: { steps: [{ spec: { command: ['true'] } }] } });
    const worker = await handWorker(admin, 'credential');
    const claim = (await worker.exchange({ most: 1 })).claims[0]!;
    expect(claim.task).toBe(`${reply.submissions[0]?.id}.1`);
    const credential = `task:${claim.task}:${claim.attempt}:${claim.secret}`;
    const child = await clientOf(server, credential).call(routes.submit, { body: { steps: [{ spec: {} }] } });
    expect(child.submissions[0]?.project).toBe('default');
    expect((await raw(server, 'GET /api/v1/tokens', { token: credential })).status).toBe(403);
    await worker.exchange({ most: 0, reports: [succeeded(claim)] });
    expect((await raw(server, 'GET /api/v1/status', { token: credential })).status).toBe(401);
    await admin.call(routes.cancel, { body: { all: true } });
  });
});

describe('bad input gets a clear answer', () => {
  const post = (body: string, headers?: Record<string, string>) =>
    raw(server, 'POST /api/v1/submissions', { token: adminToken(server), body, ...(headers ? { headers } : {}) });
  const submission = (step: object, more: object = {}) => JSON.stringify({ ...more, steps: [step] });

  test.each<[string, string, number, string, string]>([
    ['binary rubbish', '\u0001\u0002\u00ff{{{', 400, 'bad-request', 'not JSON'],
    ['half a document', '{"steps":[', 400, 'bad-request', 'not JSON'],
    ['an unknown key', submission({ spec: { comand: ['x'] } }), 400, 'bad-request', "did you mean 'command'?"],
    ['a wrong type', submission({ spec: { command: 'x' } }), 400, 'bad-request', 'must be array'],
    [
      'a deep payload',
      submission({ spec: {}, items: [{ payload: JSON.parse('['.repeat(100) + ']'.repeat(100)) }] }),
      400,
      'too-deep',
      '--input',
    ],
    [
      'a placeholder without a value',
      submission({ spec: { command: ['echo', '{temperatur}'] }, items: [{ payload: { temperature: 3 } }] }),
      400,
      'missing-placeholder',
      '{temperature}',
    ],
    [
      'an array over the limit',
      submission({ spec: {}, array: { first: 1, last: 100_000_000 } }),
      400,
      'array-too-large',
      'limit',
    ],
    [
      'an array that runs backwards',
      submission({ spec: {}, array: { first: 5, last: 1 } }),
      400,
      'bad-spec',
      'smaller number first',
    ],
    [
      'steps that wait for each other',
      JSON.stringify({
        steps: [
          { name: 'a', spec: {}, after: [{ step: 'b' }] },
          { name: 'b', spec: {}, after: [{ step: 'a' }] },
        ],
      }),
      400,
      'dependency-cycle',
      'a → b → a',
    ],
    [
      'a step after one that is not there',
      JSON.stringify({ steps: [{ name: 'a', spec: {}, after: [{ step: 'c' }] }] }),
      400,
      'bad-spec',
      'no step has that name',
    ],
    [
      'a dependency that is not there',
      submission({ spec: {}, after: [{ submission: 987_654 }] }),
      404,
      'not-found',
      '987654',
    ],
    [
      'impossible resources, strictly',
      submission({ spec: { resources: { gpus: 99 } } }, { strict: true }),
      400,
      'impossible-resources',
      '99 gpus',
    ],
    [
      'an input that was not uploaded',
      submission({ spec: { inputs: [{ name: 'a', digest: 'a'.repeat(64), kind: 'file' }] } }),
      404,
      'not-found',
      'upload',
    ],
    [
      'an unknown project',
      submission({ spec: {} }, { project: 'nowhere' }),
      404,
      'not-found',
      'project create nowhere',
    ],
  ])('%s', async (_name, body, status, code, hint) => {
    const before = (await clientOf(server).call(routes.status)).submissions;
    const answer = await post(body);
    expect(answer.json()).toMatchObject({ status, code, detail: expect.stringContaining(hint) });
    expect((await clientOf(server).call(routes.status)).submissions).toBe(before);
  });

  test('a very deep document does not take the server down', async () => {
    const answer = await post(
      `{"steps":[{"spec":{},"items":[{"payload":${'['.repeat(500_000)}${']'.repeat(500_000)}}]}]}`,
    );
    expect(answer.status).toBe(400);
    expect((await raw(server, 'GET /healthz')).status).toBe(200);
  });

  test('a body over the limit is refused', async () => {
    const answer = await post(`{"steps":[{"spec":{},"name":"${'x'.repeat(33 * 1024 * 1024)}"}]}`);
    expect(answer.json()).toMatchObject({ status: 413, code: 'body-too-large' });
  });

  test('impossible resources are accepted, and why says that no worker has them', async () => {
    const reply = await clientOf(server).call(routes.submit, {
      body: { steps: [{ spec: { command: ['x'], resources: { gpus: 7 } } }] },
    });
    expect(reply.warnings[0]).toContain('7 gpus');
    const id = `${reply.submissions[0]?.id}.1`;
    await handWorker(clientOf(server), 'small');
    const { reasons } = await clientOf(server).call(routes.why, { params: { id } });
    expect(reasons[0]).toMatchObject({ code: 'no-worker-fits' });
    expect(reasons[1]).toMatchObject({ code: 'too-little-gpus', numbers: { asked: 7, largest: 0 } });
    await clientOf(server).call(routes.cancel, { body: { targets: [id] } });
  });

  test('bytes that are not what they are called are refused, and nothing is kept', async () => {
    const digest = 'b'.repeat(64);
    const answer = await fetch(`${server.url()}/api/v1/projects/default/blobs/${digest}`, {
      method: 'PUT',
      body: 'hello',
      headers: { authorization: `Bearer ${adminToken(server)}`, 'content-type': 'application/octet-stream' },
    });
    expect(await answer.json()).toMatchObject({ code: 'digest-mismatch' });
    expect(
      await clientOf(server).call(routes.missingBlobs, { params: { project: 'default' }, body: { digests: [digest] } }),
    ).toEqual({ missing: [digest] });
  });

  test('a token that may only read brings no bytes', async () => {
    const { token } = await clientOf(server).call(routes.createToken, { body: { name: 'looks', scopes: ['read'] } });
    const digest = 'b'.repeat(64);
    for (const [method, where, body] of [
      ['PUT', `blobs/${digest}`, 'hello'],
      ['POST', 'blobs', `[["${digest}",5]]\nhello`],
    ] as const) {
      const answer = await fetch(`${server.url()}/api/v1/projects/default/${where}`, {
        method,
        body,
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/octet-stream' },
      });
      expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([403, 'forbidden']);
    }
  });
});

describe('the network', () => {
  test('anything but loopback needs TLS, or an explicit word', async () => {
    const data = temporaryDirectory();
    const refused = await startCommand(['serve', '--data', data, '--listen', '0.0.0.0:0'], {}).done;
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('--tls-self-made');
    const insecure = startCommand(['serve', '--data', data, '--listen', '0.0.0.0:0', '--insecure'], {});
    await waitUntil('it serves', () => insecure.stdout().includes('serves at'));
    insecure.child.kill('SIGTERM');
    expect((await insecure.done).code).toBe(0);
  });

  test('a certificate of its own is pinned by its fingerprint, and another one is not believed', async () => {
    const data = temporaryDirectory();
    const secure = startCommand(['serve', '--data', data, '--listen', '127.0.0.1:0', '--tls-self-made'], {});
    await waitUntil('it serves', () => secure.stdout().includes('serves at https://'));
    const facts = JSON.parse(readFileSync(path.join(data, 'server.json'), 'utf8')) as {
      url: string;
      fingerprint: string;
    };
    expect(secure.stdout()).toContain(facts.fingerprint);
    const ask = (fingerprint: string) =>
      startCommand(
        [
          'status',
          '--json',
          '--server',
          facts.url,
          '--token-file',
          path.join(data, 'admin-token'),
          '--fingerprint',
          fingerprint,
        ],
        {},
      ).done;
    expect((await ask(facts.fingerprint)).code).toBe(0);
    const doubted = await ask(facts.fingerprint.replace(/^../, facts.fingerprint.startsWith('00') ? '11' : '00'));
    expect(doubted.code).toBe(3);
    expect(doubted.stderr).toContain('fingerprint');
    secure.child.kill('SIGTERM');
    await secure.done;
  });
});

test('metrics, OpenAPI and the page that shows it are there for those with a token, with no file from anywhere else', async () => {
  const own = await token(['read']);
  const metrics = await raw(server, 'GET /metrics', { token: own.token });
  expect(metrics.text).toContain('pilotage_tasks{state="queued"}');
  const openapi = (await raw(server, 'GET /api/v1/openapi.json', { token: own.token })).json();
  expect(openapi.openapi).toMatch(/^3\.1/);
  const described = Object.values({ ...routes, ...peerRoutes }).map((route) =>
    `/api/v1${route.path}`.replace(/:(\w+)|\*/g, (word, name) => `{${name ?? word}}`),
  );
  expect(Object.keys(openapi.paths).sort()).toEqual([...new Set(described)].sort());
  const basic = { authorization: `Basic ${Buffer.from(`x:${own.token}`).toString('base64')}` };
  const page = await raw(server, 'GET /api/docs/', { headers: basic });
  expect(page.status).toBe(200);
  expect(page.headers.get('content-security-policy')).toBeTruthy();
  expect(page.text).not.toMatch(/(src|href)="https?:/);
});
