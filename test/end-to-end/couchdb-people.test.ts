import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { routes } from '../../src/ground/protocol/routes.ts';
import { adminToken, clientOf, raw } from '../support/api.ts';
import { type RunningServer, startServer } from '../support/running-server.ts';

const PASSWORD = 'correct horse';

describe('users at the CouchDB face', () => {
  let server: RunningServer;
  beforeAll(async () => {
    server = await startServer();
    const { call } = clientOf(server);
    for (const name of ['anna', 'ben', 'eve']) await call(routes.addUser, { body: { name, password: PASSWORD } });
    await call(routes.addUser, { body: { name: 'carol', password: PASSWORD, role: 'administrator' } });
    const anna = clientOf(server, await login('anna'));
    await anna.call(routes.createProject, { body: { name: 'water' } });
    await anna.call(routes.grantProject, { params: { project: 'water', user: 'ben' } });
    // An administrator of the CouchDB face, whom Pilotage does not know.
    const boss = { type: 'user', name: 'boss', roles: ['_admin'], password: PASSWORD };
    await ask('admin', 'PUT /_users/org.couchdb.user:boss', boss, adminToken(server));
  });
  afterAll(() => server[Symbol.asyncDispose]());

  const login = async (user: string, password = PASSWORD) =>
    (await clientOf(server).call(routes.login, { body: { user, password } })).token;
  const ask = (name: string, request: string, body?: object, password = PASSWORD) =>
    raw(server, request.replace(' ', ' /couchdb'), {
      headers: { authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}` },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  const statusOf = async (...given: Parameters<typeof ask>) => (await ask(...given)).status;

  test('enter the databases of their projects, and no others', async () => {
    const names = async (name: string) => (await ask(name, 'GET /_all_dbs')).json();
    expect(await names('anna')).toEqual(['water']);
    expect(await names('ben')).toEqual(['water']);
    expect(await names('eve')).toEqual([]);
    expect(await names('carol')).toEqual(['default', 'water']);
    for (const [name, status] of [
      ['anna', 201],
      ['ben', 201],
      ['carol', 201],
      ['eve', 403],
    ] as const) {
      expect([name, await statusOf(name, `PUT /water/by-${name}`, { a: 1 })]).toEqual([name, status]);
      const view = { views: { all: { map: 'function (doc) { emit(doc._id); }' } } };
      expect([name, await statusOf(name, `PUT /water/_design/${name}`, view)]).toEqual([name, status]);
    }
    expect(await statusOf('eve', 'GET /water')).toBe(403);
  });

  test('who are members let nobody else in; the owner does', async () => {
    const security = { admins: { names: ['eve'], roles: [] }, members: { names: [], roles: [] } };
    expect(await statusOf('ben', 'PUT /water/_security', security)).toBe(403);
    expect(await statusOf('eve', 'GET /water')).toBe(403);
    expect(await statusOf('anna', 'PUT /water/_security', security)).toBe(200);
    expect(await statusOf('eve', 'GET /water')).toBe(200);
    // That opens the database, and not the project.
    const eve = await login('eve');
    expect((await raw(server, 'GET /api/v1/tasks?project=water', { token: eve })).status).toBe(404);
    expect(await statusOf('anna', 'PUT /water/_security', { admins: {}, members: {} })).toBe(200);
  });

  test('lose what is revoked at once, also with a cookie from before', async () => {
    const { call } = clientOf(server);
    await call(routes.grantProject, { params: { project: 'water', user: 'eve' } });
    const begun = await ask('eve', 'POST /_session', { name: 'eve', password: PASSWORD });
    const cookie = (begun.headers.get('set-cookie') ?? '').split(';')[0] ?? '';
    const withCookie = async () => (await raw(server, 'GET /couchdb/water', { headers: { cookie } })).status;
    expect([await statusOf('eve', 'GET /water'), await withCookie()]).toEqual([200, 200]);
    await call(routes.revokeProject, { params: { project: 'water', user: 'eve' } });
    expect([await statusOf('eve', 'GET /water'), await withCookie()]).toEqual([403, 403]);
  });

  test('make themselves no more than they are by writing their document', async () => {
    const { _rev } = (await ask('eve', 'GET /_users/org.couchdb.user:eve')).json();
    const document = { _rev, type: 'user', name: 'eve', role: 'administrator' };
    expect(await statusOf('eve', 'PUT /_users/org.couchdb.user:eve', { ...document, roles: ['_admin'] })).toBe(403);
    expect(await statusOf('eve', 'PUT /_users/org.couchdb.user:eve', { ...document, roles: [] })).toBe(201);
    const token = await login('eve');
    expect((await raw(server, 'GET /api/v1/whoami', { token })).json()).toMatchObject({ role: 'regular' });
    expect((await raw(server, 'GET /api/v1/users', { token })).status).toBe(403);
  });

  test('who are known to the face alone, also its administrators, are nobody to Pilotage, and give no user a password', async () => {
    const refused = await raw(server, 'POST /api/v1/login', {
      body: JSON.stringify({ user: 'boss', password: PASSWORD }),
    });
    expect(refused.status).toBe(401);
    for (const name of ['carol', 'anna']) {
      const where = `/_users/org.couchdb.user:${name}`;
      const { _rev, ...rest } = (await ask('boss', `GET ${where}`)).json();
      const taken = { ...rest, _rev, password: 'battery staple' };
      expect([name, await statusOf('boss', `PUT ${where}`, taken)]).toEqual([name, 403]);
      expect([name, await statusOf('boss', `DELETE ${where}?rev=${_rev}`)]).toEqual([name, 403]);
      expect(await login(name)).toBeTruthy();
    }
    // An administrator makes a user of one, with the password that they have.
    await clientOf(server).call(routes.setRole, { params: { user: 'boss' }, body: { role: 'regular' } });
    const token = await login('boss');
    expect((await raw(server, 'GET /api/v1/whoami', { token })).json()).toMatchObject({
      role: 'regular',
      projects: [],
    });
  });

  test('change their password there with the current one, to one that is long enough', async () => {
    const begun = await ask('eve', 'POST /_session', { name: 'eve', password: PASSWORD });
    const cookie = (begun.headers.get('set-cookie') ?? '').split(';')[0] ?? '';
    const { json } = await ask('eve', 'GET /_users/org.couchdb.user:eve');
    const change = (password: string) => JSON.stringify({ ...(json() as object), password });
    const by = async (headers: Record<string, string>, password: string) => {
      const answer = await raw(server, 'PUT /couchdb/_users/org.couchdb.user:eve', { headers, body: change(password) });
      return `${answer.status} ${answer.text}`;
    };
    const basic = { authorization: `Basic ${Buffer.from(`eve:${PASSWORD}`).toString('base64')}` };
    expect(await by({ cookie }, 'battery staple')).toMatch(/^403 .*the current one/);
    expect(await by(basic, 'short')).toMatch(/^400 .*at least 8/);
    expect(await statusOf('eve', 'GET /_session')).toBe(200);
    expect(await by(basic, PASSWORD)).toMatch(/^201 /);
  });

  test('who change their password there end their logins here', async () => {
    const token = await login('ben');
    const document = (await ask('ben', 'GET /_users/org.couchdb.user:ben')).json();
    const changed = { ...document, password: 'battery staple' };
    expect(await statusOf('ben', 'PUT /_users/org.couchdb.user:ben', changed)).toBe(201);
    expect((await raw(server, 'GET /api/v1/whoami', { token })).status).toBe(401);
    expect(await login('ben', 'battery staple')).toBeTruthy();
  });

  test('a user whose name a project has keeps the password when credentials for that project are made', async () => {
    const { call } = clientOf(server);
    await call(routes.createProject, { body: { name: 'anna' } });
    const security = { admins: { names: ['anna'], roles: [] } };
    expect(await statusOf('carol', 'PUT /anna/_security', security)).toBe(200);
    expect((await call(routes.makeCredentials, { params: { project: 'anna' } })).user).toBe('anna-2');
    expect(await login('anna')).toBeTruthy();
  });

  test('a token for a project that was deleted there is none for the next project of that name', async () => {
    const { call } = clientOf(server);
    await call(routes.createProject, { body: { name: 'pool' } });
    const body = { name: 'robot', scopes: ['submit' as const, 'work' as const], projects: ['pool'] };
    const robot = (await call(routes.createToken, { body })).token;
    const status = async (request: string) => (await raw(server, request, { token: robot })).status;
    expect(await status('GET /api/v1/projects/pool/usage')).toBe(200);
    expect(await statusOf('carol', 'DELETE /pool')).toBe(200);
    expect(await status('GET /api/v1/projects/pool/usage')).toBe(404);
    await clientOf(server, await login('anna')).call(routes.createProject, { body: { name: 'pool' } });
    expect(await status('GET /api/v1/projects/pool/usage')).toBe(404);
    expect((await raw(server, 'GET /api/v1/tasks?project=pool', { token: robot })).status).toBe(404);
    expect(await statusOf('any', 'GET /pool', undefined, robot)).toBe(403);
    expect(await statusOf('carol', 'DELETE /pool')).toBe(200);
  });

  test('what they do there to users and projects is written down', async () => {
    expect(await statusOf('carol', 'PUT /made-there')).toBe(201);
    const { entries } = await clientOf(server).call(routes.audit, { query: { user: 'carol' } });
    expect(entries).toContainEqual(
      expect.objectContaining({
        action: 'project.create',
        subject: 'made-there',
        how: 'CouchDB',
        address: '127.0.0.1',
      }),
    );
    const ben = await clientOf(server).call(routes.audit, { query: { user: 'ben', action: 'user' } });
    expect(ben.entries).toMatchObject([{ action: 'user.couchdb', subject: 'ben', detail: { password: 'changed' } }]);
  });
});
