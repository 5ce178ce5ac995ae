import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type PicasPool, startPicasPool } from '../support/picas.ts';
import { waitUntil } from '../support/wait-until.ts';

let pool: PicasPool;
/** `/mypool`: what the recipes call `$url/$database`. */
let db: string;
beforeAll(async () => {
  pool = await startPicasPool();
  db = `/${pool.database}`;
});
afterAll(() => pool?.[Symbol.asyncDispose]());

const fresh = { type: 'token', lock: 0, done: 0, hostname: '', scrub_count: 0, input: '', exit_code: '' };

describe('what users of PiCaS type with curl', () => {
  beforeEach(async () => {
    const { json } = await pool.ask(`GET ${db}/_all_docs`);
    const rows = (json.rows as { id: string; value: { rev: string } }[]).filter((row) => !row.id.startsWith('_'));
    const docs = rows.map((row) => ({ _id: row.id, _rev: row.value.rev, _deleted: true }));
    await pool.ask(`POST ${db}/_bulk_docs`, { body: { docs } });
    for (const id of ['a', 'b', 'c']) await pool.ask(`PUT ${db}/${id}`, { body: fresh });
    const { json: standing } = await pool.ask(`GET ${db}/c`);
    await pool.ask(`PUT ${db}/c`, { body: { ...standing, lock: 5, done: 6, exit_code: 0 } });
  });

  test('the server says who it is, and that it is up', async () => {
    expect((await pool.ask('GET /', { as: 'nobody' })).json).toMatchObject({
      couchdb: 'Welcome',
      version: expect.stringMatching(/^3\./),
    });
    expect((await pool.ask('GET /_up', { as: 'nobody' })).json).toMatchObject({ status: 'ok' });
    expect((await pool.ask('GET /_uuids?count=2')).json.uuids).toHaveLength(2);
  });

  test('a database tells its name and how many documents it has', async () => {
    expect((await pool.ask(`GET ${db}`)).json).toMatchObject({ db_name: pool.database, doc_count: 4 });
    expect((await pool.ask(`GET ${db}/`)).json).toMatchObject({ db_name: pool.database });
    const head = await pool.ask(`HEAD ${db}`);
    expect([head.status, head.text]).toEqual([200, '']);
    expect((await pool.ask('GET /_all_dbs')).json).toEqual([pool.database]);
  });

  test('all documents are listed, and the design documents', async () => {
    const all = (await pool.ask(`GET ${db}/_all_docs/`)).json;
    expect(all).toMatchObject({ total_rows: 4, offset: 0 });
    expect(all.rows.map((row: { id: string }) => row.id)).toEqual(['_design/Monitor', 'a', 'b', 'c']);
    expect((await pool.ask(`GET ${db}/_design_docs`)).json.rows).toMatchObject([{ id: '_design/Monitor' }]);
    const some = await pool.ask(`GET ${db}/_all_docs?startkey="b"&include_docs=true&limit=1`);
    expect(some.json.rows).toMatchObject([{ id: 'b', doc: fresh }]);
    const keys = (await pool.ask(`POST ${db}/_all_docs`, { body: { keys: ['c', 'nothing', 'a'] } })).json;
    expect(keys.rows).toMatchObject([{ id: 'c' }, { key: 'nothing', error: 'not_found' }, { id: 'a' }]);
  });

  test('views are asked in every usual way', async () => {
    const view = async (what: string) => (await pool.ask(`GET ${db}/_design/Monitor/_view/${what}`)).json;
    expect(await view('todo')).toEqual({
      total_rows: 2,
      offset: 0,
      rows: ['a', 'b'].map((id) => ({ id, key: id, value: id })),
    });
    expect((await view('todo?descending=true')).rows).toMatchObject([{ id: 'b' }, { id: 'a' }]);
    expect((await view('todo?limit=1&skip=1')).rows).toMatchObject([{ id: 'b' }]);
    expect((await view('overview_total?group=true')).rows).toEqual([
      { key: 'done', value: 1 },
      { key: 'todo', value: 2 },
    ]);
    expect((await view('overview_total')).rows).toEqual([{ key: null, value: 3 }]);
    expect((await view('overview_total?reduce=false')).rows).toHaveLength(3);
    expect((await view('nothing')).error).toBe('not_found');
  });

  test('documents are found by what is in them', async () => {
    const body = { selector: { exit_code: { $eq: 0 } }, fields: ['_id', 'exit_code'] };
    expect((await pool.ask(`POST ${db}/_find`, { body })).json.docs).toEqual([{ _id: 'c', exit_code: 0 }]);
  });

  test('a document is read, written on its revision, and deleted', async () => {
    const read = await pool.ask(`GET ${db}/a`);
    expect(read.json).toEqual({ _id: 'a', _rev: expect.stringMatching(/^\d+-[0-9a-f]{32}$/), ...fresh });
    const rev = read.json._rev as string;
    const written = await pool.ask(`PUT ${db}/a?rev=${rev}`, { body: { ...fresh, input: 'x' } });
    expect([written.status, written.json.ok, written.json.id]).toEqual([201, true, 'a']);
    const late = await pool.ask(`PUT ${db}/a`, { body: { ...fresh, _rev: rev } });
    expect([late.status, late.json]).toEqual([409, { error: 'conflict', reason: 'Document update conflict.' }]);
    expect((await pool.ask(`DELETE ${db}/a`)).status).toBe(409);
    const gone = await pool.ask(`DELETE ${db}/a?rev=${written.json.rev}`);
    expect([gone.status, gone.json.ok]).toEqual([200, true]);
    expect((await pool.ask(`GET ${db}/a`)).json).toEqual({ error: 'not_found', reason: 'deleted' });
    expect((await pool.ask(`GET ${db}/nothing`)).json).toEqual({ error: 'not_found', reason: 'missing' });
    expect((await pool.ask(`GET ${db}/a?rev=${gone.json.rev}`)).json).toMatchObject({ _deleted: true });
    const again = await pool.ask(`PUT ${db}/a`, { body: fresh });
    expect([again.status, Number.parseInt(again.json.rev, 10)]).toEqual([201, Number.parseInt(gone.json.rev, 10) + 1]);
    expect(await pool.ids('todo')).toEqual(['a', 'b']);
    expect((await pool.ask(`GET ${db}`)).json.doc_count).toBe(4);
  });

  test('what a client knows already is not sent again', async () => {
    const { headers } = await pool.ask(`GET ${db}/a`);
    const etag = headers.get('etag') ?? '';
    const known = await pool.ask(`GET ${db}/a`, { headers: { 'if-none-match': etag } });
    expect([known.status, known.text, known.headers.get('date')]).toEqual([304, '', expect.any(String)]);
    const { json } = await pool.ask(`GET ${db}/a`);
    await pool.ask(`PUT ${db}/a`, { body: { ...json, input: 'changed' } });
    expect((await pool.ask(`GET ${db}/a`, { headers: { 'if-none-match': etag } })).status).toBe(200);
    await pool.server.json(['cancel', await taskOf('a')]);
    expect((await pool.ask(`GET ${db}/a`)).headers.get('etag')).not.toBe(etag);
  });

  const taskOf = async (name: string): Promise<string> => {
    const tasks = await pool.server.json<{ id: string; name: string; state: string }[]>(['tasks', '-p', pool.database]);
    return tasks.findLast((task) => task.name === name && task.state === 'queued')?.id ?? 'none';
  };

  test('errors are short JSON with a length', async () => {
    for (const request of [
      `GET ${db}/nothing`,
      'GET /nothing',
      `GET ${db}/_design/x/_view/y`,
      `POST ${db}/_bulk_docs`,
    ]) {
      const { status, headers, json, text } = await pool.ask(request);
      expect(status).toBeGreaterThanOrEqual(400);
      expect([json.error, json.reason]).toEqual([expect.any(String), expect.any(String)]);
      expect(headers.get('content-type')).toContain('application/json');
      expect(Number(headers.get('content-length'))).toBe(Buffer.byteLength(text));
    }
  });

  test('of a bulk the one in conflict is refused, and no other', async () => {
    const docs = [{ _id: 'd', ...fresh }, { _id: 'a', ...fresh }, { ...fresh }];
    const answer = await pool.ask(`POST ${db}/_bulk_docs`, { body: { docs } });
    expect(answer.status).toBe(201);
    expect(answer.json).toMatchObject([
      { ok: true, id: 'd', rev: expect.any(String) },
      { id: 'a', error: 'conflict', reason: expect.any(String) },
      { ok: true, id: expect.stringMatching(/^[0-9a-f]{32}$/) },
    ]);
  });

  test('attachments of their own are put, got and deleted, also while the token is locked or done', async () => {
    const standing = (await pool.ask(`GET ${db}/a`)).json;
    await pool.ask(`PUT ${db}/a`, { body: { ...standing, lock: 7, hostname: 'here' } });
    for (const id of ['a', 'b', 'c']) {
      const rev = (await pool.ask(`GET ${db}/${id}`)).json._rev;
      const headers = { 'content-type': 'text/plain; charset=utf-8' };
      const put = await pool.ask(`PUT ${db}/${id}/my%20log%2F1.txt?rev=${rev}`, { body: 'hello', headers });
      expect([id, put.status]).toEqual([id, 201]);
      const got = await pool.ask(`GET ${db}/${id}/my%20log%2F1.txt`);
      expect([got.text, got.headers.get('content-type')]).toEqual(['hello', headers['content-type']]);
      expect((await pool.ask(`GET ${db}/${id}`)).json._attachments).toEqual({
        'my log/1.txt': {
          content_type: headers['content-type'],
          revpos: Number.parseInt(put.json.rev, 10),
          digest: 'md5-XUFAKrxLKna5cZ2REBfFkg==',
          length: 5,
          stub: true,
        },
      });
      const gone = await pool.ask(`DELETE ${db}/${id}/my%20log%2F1.txt?rev=${put.json.rev}`);
      expect(gone.status).toBe(200);
      expect((await pool.ask(`GET ${db}/${id}/my%20log%2F1.txt`)).status).toBe(404);
    }
    expect([await pool.ids('locked'), await pool.ids('done')]).toEqual([['a'], ['c']]);
    const unknown = { ...(await pool.ask(`GET ${db}/b`)).json, _attachments: { x: { stub: true } } };
    expect((await pool.ask(`PUT ${db}/b`, { body: unknown })).json.error).toBe('missing_stub');
  });

  test('changes are listed, waited for, and followed', async () => {
    const all = (await pool.ask(`GET ${db}/_changes`)).json;
    const ids = all.results.map((change: { id: string }) => change.id);
    expect(ids).toEqual(expect.arrayContaining(['_design/Monitor', 'a', 'b', 'c']));
    const since = encodeURIComponent(all.last_seq);
    expect((await pool.ask(`GET ${db}/_changes?since=${since}`)).json.results).toEqual([]);
    const waiting = pool.ask(`GET ${db}/_changes?feed=longpoll&since=${since}&include_docs=true`);
    const followed = follow(`${db}/_changes?feed=continuous&since=${since}&heartbeat=100`);
    await pool.ask(`PUT ${db}/z`, { body: fresh });
    expect(JSON.parse((await waiting).text).results).toMatchObject([{ id: 'z', doc: fresh }]);
    const rev = (await pool.ask(`GET ${db}/z`)).json._rev;
    // Two changes of one document that nobody has seen yet are told as one.
    await followed.sees('"id":"z"');
    await pool.ask(`DELETE ${db}/z?rev=${rev}`);
    const lines = await followed.until((text) => text.includes('"deleted":true'));
    expect(lines).toMatchObject([{ id: 'z' }, { id: 'z', deleted: true }]);
    for (const feed of ['normal', 'longpoll', 'continuous']) {
      const head = await pool.ask(`HEAD ${db}/_changes?feed=${feed}&since=now&timeout=60000`);
      expect([head.status, head.text]).toEqual([200, '']);
    }
    const ended = await pool.ask(`GET ${db}/_changes?feed=continuous&since=now&timeout=50`);
    expect(JSON.parse(ended.text)).toMatchObject({ last_seq: expect.any(String) });
  });

  const follow = (where: string) => {
    const login = Buffer.from(`${pool.user}:${pool.password}`).toString('base64');
    const stop = new AbortController();
    let text = '';
    const reading = fetch(pool.url + where, {
      headers: { authorization: `Basic ${login}` },
      signal: stop.signal,
    }).then(async ({ body }) => {
      for await (const piece of body as unknown as AsyncIterable<Uint8Array>) text += Buffer.from(piece).toString();
    });
    return {
      sees: (part: string) => waitUntil(`the changes that are followed hold ${part}`, () => text.includes(part)),
      until: async (isEnough: (text: string) => boolean) => {
        await waitUntil('the changes that are followed', () => isEnough(text));
        stop.abort();
        await reading.catch(() => {});
        return text
          .split('\n')
          .filter((line) => line !== '')
          .map((line) => JSON.parse(line) as unknown);
      },
    };
  };
});

describe('who may enter', () => {
  beforeAll(async () => {
    await pool.server.json(['project', 'create', 'other']);
    for (const name of ['eve', 'bob']) {
      const body = { name, password: `${name}'s own`, roles: name === 'bob' ? ['readers'] : [], type: 'user' };
      const answer = await pool.ask(`PUT /_users/org.couchdb.user:${name}`, { as: 'admin', body });
      expect([answer.status, answer.json.id]).toEqual([201, `org.couchdb.user:${name}`]);
    }
  });
  const eve = ['eve', "eve's own"] as const;
  const bob = ['bob', "bob's own"] as const;

  test('nobody without a password, nor with a wrong one, nor with that of another project', async () => {
    const asked = async (as: 'nobody' | readonly [string, string], where = db) => {
      const { status, json } = await pool.ask(`GET ${where}`, { as });
      return [status, json.error ?? null];
    };
    expect(await asked('nobody')).toEqual([401, 'unauthorized']);
    expect(await asked([pool.user, 'wrong'])).toEqual([401, 'unauthorized']);
    expect(await asked(['nobody at all', 'wrong'])).toEqual([401, 'unauthorized']);
    expect(await asked(eve)).toEqual([403, 'forbidden']);
    for (const where of ['/a', '/_all_docs', '/_design/Monitor/_view/todo', '/_changes', '/_security', '/a/x'])
      expect([where, await asked(eve, db + where)]).toEqual([where, [403, 'forbidden']]);
    expect((await pool.ask('GET /_all_dbs', { as: eve })).json).toEqual([]);
    expect((await pool.ask('GET /other')).status).toBe(403);
    for (const [method, where] of [
      ['PUT', `${db}/eve`],
      ['POST', `${db}/_bulk_docs`],
      ['PUT', '/eves'],
      ['DELETE', db],
    ] as const)
      expect((await pool.ask(`${method} ${where}`, { as: eve, body: { docs: [] } })).status).toBe(403);
    expect((await pool.ask(`GET /_users/org.couchdb.user:${pool.user}`, { as: eve })).status).toBe(404);
  });

  test('members and admins of a database, by name and by role; an empty list of members opens nothing', async () => {
    const before = (await pool.ask(`GET ${db}/_security`)).json;
    const set = (security: object) => pool.ask(`PUT ${db}/_security`, { as: 'admin', body: security });
    const security = { admins: { names: ['eve'], roles: [] }, members: { names: [], roles: ['readers'] } };
    expect((await set(security)).json).toEqual({ ok: true });
    expect((await pool.ask(`GET ${db}/_security`, { as: eve })).json).toEqual(security);
    expect((await pool.ask(`GET ${db}`, { as: bob })).status).toBe(200);
    expect((await pool.ask(`PUT ${db}/_design/x`, { as: bob, body: { views: {} } })).status).toBe(403);
    expect((await pool.ask(`PUT ${db}/_design/x`, { as: eve, body: { views: {} } })).status).toBe(201);
    expect((await pool.ask(`GET ${db}`)).status).toBe(403);
    await set({ admins: { names: [pool.user], roles: [] }, members: { names: [], roles: [] } });
    expect((await pool.ask(`GET ${db}`, { as: eve })).status).toBe(403);
    expect((await pool.ask(`GET ${db}`, { as: 'nobody' })).status).toBe(401);
    expect((await pool.ask(`GET ${db}`)).status).toBe(200);
    await set(before);
  });

  test('a password is changed by its owner, as the documentation says, and counts at once', async () => {
    const where = '/_users/org.couchdb.user:eve';
    const { json: user } = await pool.ask(`GET ${where}`, { as: eve });
    expect(user).toMatchObject({ _id: 'org.couchdb.user:eve', name: 'eve', type: 'user', roles: [] });
    expect(JSON.stringify(user)).not.toContain('own');
    const body = { name: 'eve', roles: [], type: 'user', password: 'a new one' };
    const wrong = await pool.ask(`PUT ${where}`, { as: eve, body, headers: { 'if-match': '1-00' } });
    expect(wrong.status).toBe(409);
    const changed = await pool.ask(`PUT ${where}`, { as: eve, body, headers: { 'if-match': `"${user._rev}"` } });
    expect(changed.status).toBe(201);
    expect((await pool.ask('GET /_session', { as: eve })).status).toBe(401);
    expect((await pool.ask('GET /_session', { as: ['eve', 'a new one'] })).json.userCtx.name).toBe('eve');
    const admin = { ...body, roles: ['_admin'], _rev: changed.json.rev };
    expect((await pool.ask(`PUT ${where}`, { as: ['eve', 'a new one'], body: admin })).status).toBe(403);
    const back = { ...body, password: "eve's own", _rev: changed.json.rev };
    expect((await pool.ask(`PUT ${where.replace(':', '%3A')}`, { as: ['eve', 'a new one'], body: back })).status).toBe(
      201,
    );
  });

  test('who logs in gets a cookie for the time being', async () => {
    const body = `name=${pool.user}&password=${encodeURIComponent(pool.password)}`;
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    const login = await pool.ask('POST /_session', { as: 'nobody', body, headers });
    expect(login.json).toMatchObject({ ok: true, name: pool.user });
    const cookie = (login.headers.get('set-cookie') ?? '').split(';')[0] ?? '';
    const asked = await pool.ask(`GET ${db}`, { as: 'nobody', headers: { cookie } });
    expect([asked.status, asked.json.db_name]).toEqual([200, pool.database]);
    const { json } = await pool.ask('GET /_session', { as: 'nobody', headers: { cookie } });
    expect(json).toMatchObject({ userCtx: { name: pool.user }, info: { authenticated: 'cookie' } });
    expect((await pool.ask(`GET ${db}`, { as: 'nobody', headers: { cookie: `${cookie}x` } })).status).toBe(401);
    const refused = await pool.ask('POST /_session', { as: 'nobody', body: { name: pool.user, password: 'wrong' } });
    expect([refused.status, refused.json.error]).toEqual([401, 'unauthorized']);
    expect((await pool.ask('DELETE /_session', { as: 'nobody' })).headers.get('set-cookie')).toMatch(/^AuthSession=;/);
  });

  test('a session ends with the password it began with, and is nothing to whoever comes later under that name', async () => {
    const where = '/_users/org.couchdb.user:ada';
    const ada = { name: 'ada', roles: [], type: 'user', password: 'first' };
    const logIn = async (password: string) => {
      const { headers } = await pool.ask('POST /_session', { as: 'nobody', body: { name: 'ada', password } });
      return { cookie: (headers.get('set-cookie') ?? '').split(';')[0] ?? '' };
    };
    const who = async (headers: { cookie: string }) =>
      (await pool.ask('GET /_session', { as: 'nobody', headers })).json.userCtx.name;
    const made = await pool.ask(`PUT ${where}`, { as: 'admin', body: ada });
    const first = await logIn('first');
    const body = { ...ada, password: 'second', _rev: made.json.rev };
    const changed = await pool.ask(`PUT ${where}`, { as: ['ada', 'first'], body });
    const second = await logIn('second');
    expect([await who(first), await who(second)]).toEqual([null, 'ada']);
    expect((await pool.ask(`DELETE ${where}?rev=${changed.json.rev}`, { as: 'admin' })).status).toBe(200);
    expect(await who(second)).toBeNull();
    await pool.ask(`PUT ${where}`, { as: 'admin', body: { ...ada, password: 'second' } });
    expect(await who(second)).toBeNull();
    expect(await who(await logIn('second'))).toBe('ada');
  });

  test('a pool is set up as the container of the client does it', async () => {
    const admin = { as: 'admin' } as const;
    expect((await pool.ask('GET /_users', admin)).json.db_name).toBe('_users');
    expect((await pool.ask('PUT /_users', admin)).json.error).toBe('file_exists');
    expect((await pool.ask('GET /workshop', admin)).json.error).toBe('not_found');
    expect((await pool.ask('PUT /workshop', admin)).json).toEqual({ ok: true });
    expect((await pool.ask('PUT /workshop', admin)).json.error).toBe('file_exists');
    expect((await pool.ask('GET /workshop', admin)).json.db_name).toBe('workshop');
    const where = '/_users/org.couchdb.user:picas';
    expect((await pool.ask(`GET ${where}`, admin)).json.error).toBe('not_found');
    const user = { name: 'picas', password: 'picas pw', roles: [], type: 'user' };
    expect((await pool.ask(`PUT ${where}`, { ...admin, body: user })).status).toBe(201);
    const picas = ['picas', 'picas pw'] as const;
    for (const members of [
      { names: ['picas'], roles: [] },
      { names: [], roles: [] },
    ]) {
      const body = { admins: { names: ['picas'], roles: [] }, members };
      expect((await pool.ask('PUT /workshop/_security', { ...admin, body })).json).toEqual({ ok: true });
    }
    const { json: monitor } = await pool.ask('GET /workshop/_design/Monitor', { as: picas });
    expect(Object.keys(monitor.views).sort()).toEqual(['done', 'error', 'locked', 'overview_total', 'todo']);
    const map = "function(doc) { if (doc.type === 'token' && doc.lock == 0 && doc.done == 0) emit(doc._id, doc._id); }";
    const views = { todo: { map } };
    expect((await pool.ask('PUT /workshop/_design/Monitor', { as: picas, body: { ...monitor, views } })).status).toBe(
      201,
    );
    await pool.ask('PUT /workshop/a', { as: picas, body: fresh });
    const { json } = await pool.ask('GET /workshop/_design/Monitor/_view/todo', { as: picas });
    expect(json.rows).toEqual([{ id: 'a', key: 'a', value: 'a' }]);
    expect((await pool.ask('DELETE /workshop', admin)).json).toEqual({ ok: true });
    expect((await pool.ask('GET /workshop', { as: picas })).status).toBe(404);
  });
});
