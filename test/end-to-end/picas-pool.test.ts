import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { routes } from '../../src/ground/protocol/routes.ts';
import { clientOf } from '../support/api.ts';
import { type PicasPool, startPicasPool } from '../support/picas.ts';
import { waitUntil } from '../support/wait-until.ts';

interface Listed {
  readonly id: string;
  readonly name: string | null;
  readonly state: string;
  readonly exitCode: number | null;
}

let pool: PicasPool;
let db: string;
beforeAll(async () => {
  pool = await startPicasPool();
  db = `/${pool.database}`;
});
afterAll(() => pool?.[Symbol.asyncDispose]());

const fresh = { type: 'token', lock: 0, done: 0, hostname: '', scrub_count: 0, exit_code: '' };
const token = async (id: string) => (await pool.ask(`GET ${db}/${encodeURIComponent(id)}`)).json;
const put = async (id: string, fields: object) => {
  const answer = await pool.ask(`PUT ${db}/${encodeURIComponent(id)}`, { body: fields });
  expect(answer.status).toBe(201);
};
const pilotage = <T>(...words: string[]) => pool.server.json<T>(words);
const taskOf = async (name: string): Promise<Listed> => {
  const tasks = await pilotage<Listed[]>('tasks', '-p', pool.database);
  const found = tasks.findLast((task) => task.name === name);
  if (!found) throw new Error(`no task is called ${name}`);
  return found;
};
const idOf = ({ id }: { id: string }) => id;
const work = async () => {
  const { code, stderr } = await pool.server.run(['worker', '--slots', '2', '--until-idle', '1s']);
  expect([code, code === 0 ? '' : stderr]).toEqual([0, '']);
};
const submit = async (...words: string[]): Promise<string> => {
  const { id } = await pilotage<{ id: number }>('submit', '-p', pool.database, ...words);
  return `pilotage:${id}.1`;
};
/** In which views a token is. */
const viewsOf = async (id: string): Promise<string[]> => {
  const found: string[] = [];
  for (const view of ['todo', 'locked', 'done', 'error']) if ((await pool.ids(view)).includes(id)) found.push(view);
  return found;
};

describe('a token is a task', () => {
  test('what a client locks, ends and resets is seen in the pool at once', async () => {
    await put('seen', fresh);
    expect(await taskOf('seen')).toMatchObject({ state: 'queued' });
    await put('seen', { ...(await token('seen')), lock: 1_700_000_000, hostname: 'node7' });
    expect(await taskOf('seen')).toMatchObject({ state: 'running' });
    await put('seen', { ...(await token('seen')), done: 1_700_000_001, exit_code: 3 });
    expect(await taskOf('seen')).toMatchObject({ state: 'failed', exitCode: 3 });
    await put('seen', { ...(await token('seen')), lock: 0, done: 0, exit_code: '', scrub_count: 1 });
    expect(await taskOf('seen')).toMatchObject({ state: 'queued' });
    await put('seen', { ...(await token('seen')), lock: 5, done: 6, exit_code: 0 });
    expect(await taskOf('seen')).toMatchObject({ state: 'succeeded', exitCode: 0 });
    const { stdout } = await pool.server.run(['task', (await taskOf('seen')).id]);
    expect(stdout).toContain('node7');
  });

  test('why a token waits: for a client, not for a worker of ours', async () => {
    await put('waits', fresh);
    const { stdout } = await pool.server.run(['why', (await taskOf('waits')).id]);
    expect(stdout).toContain('PiCaS pilot');
    expect(stdout).not.toContain('pilotage worker');
  });

  test('what is cancelled and retried by command is seen in the views', async () => {
    await put('mine', fresh);
    const { id } = await taskOf('mine');
    await pilotage('cancel', id);
    expect(await viewsOf('mine')).toEqual(['error']);
    expect(await token('mine')).toMatchObject({ lock: 99, done: 99, error: [{ message: 'cancelled' }] });
    await pilotage('retry', id);
    expect(await viewsOf('mine')).toEqual(['todo']);
    await put('mine', { ...(await token('mine')), lock: 5, hostname: 'here' });
    await pilotage('cancel', id);
    expect(await viewsOf('mine')).toEqual(['error']);
    await pilotage('retry', id);
    const { _rev } = await token('mine');
    expect((await pool.ask(`DELETE ${db}/mine?rev=${_rev}`)).status).toBe(200);
    expect([await viewsOf('mine'), (await taskOf('mine')).state]).toEqual([[], 'cancelled']);
    expect(await viewsOf(`pilotage:${id}`)).toEqual([]);
  });

  test('with a command it is run by a worker of the pool', async () => {
    await put('good', { ...fresh, input: 'world', command: ['sh', '-c', 'echo "hello {world}"'], note: 'kept' });
    await put('shell', { ...fresh, command: 'exit 4' });
    await work();
    expect(await viewsOf('good')).toEqual(['done']);
    expect(await token('good')).toMatchObject({ exit_code: 0, input: 'world', note: 'kept', hostname: /./ });
    expect((await pool.server.run(['logs', (await taskOf('good')).id])).stdout).toContain('hello {world}');
    expect([await viewsOf('shell'), (await token('shell')).exit_code]).toEqual([['error'], 4]);
  });

  test('a task of another face is a token: clients see it, take it, and end it', async () => {
    const id = await submit('--name', 'native', '--', 'sh', '-c', 'exit 0');
    expect(await viewsOf(id)).toEqual(['todo']);
    expect(await token(id)).toMatchObject({ ...fresh, command: ['sh', '-c', 'exit 0'] });
    await put(id, { ...(await token(id)), lock: 5, hostname: 'here' });
    expect([await viewsOf(id), (await taskOf('native')).state]).toEqual([['locked'], 'running']);
    const waiting = pilotage<Listed[]>('tasks', '-p', pool.database, '--state', 'queued');
    expect((await waiting).map((task) => task.name)).not.toContain('native');
    await put(id, { ...(await token(id)), done: 6, exit_code: 0, own: 'field' });
    expect([await viewsOf(id), (await taskOf('native')).state]).toEqual([['done'], 'succeeded']);
    expect((await token(id)).own).toBe('field');
  });

  test('who waits for a change hears at once of what commands and workers do, too', async () => {
    const native = await submit('--name', 'heard', '--not-before', '1h', '--', 'true');
    const since = async () => (await pool.ask(`GET ${db}/_changes?since=now`)).json.last_seq as string;
    const waiting = pool.ask(`GET ${db}/_changes?feed=longpoll&since=${await since()}&timeout=60000`);
    const heard = waiting.then(({ json }) => ({ at: performance.now(), ids: json.results.map(idOf) }));
    await pool.ask('GET /_up');
    const client = clientOf(pool.server);
    await client.call(routes.cancel, { body: { targets: [native.replace('pilotage:', '')] } });
    const done = performance.now();
    const { at, ids } = await heard;
    expect(ids).toEqual([native]);
    expect(at - done).toBeLessThan(700);
  });

  test('why a token waits is told without the pilots that hold others', async () => {
    await put('held', { ...fresh, lock: 5, hostname: 'node9' });
    const { stdout } = await pool.server.run(['why', (await submit('--cpus', '3', '--', 'true')).slice(9)]);
    expect(stdout).toContain('no worker is there');
  });

  test('a task that waits for another is in no view, and cannot be let go by a client; cancelled it is in error', async () => {
    const first = await submit('--name', 'first', '--', 'true');
    const number = first.replace(/^pilotage:|\.1$/g, '');
    const second = await submit('--name', 'second', '--after', number, '--', 'true');
    expect([await viewsOf(first), await viewsOf(second)]).toEqual([['todo'], []]);
    const freed = { ...(await token(second)), lock: 0, done: 0 };
    const answer = await pool.ask(`PUT ${db}/${encodeURIComponent(second)}`, { body: freed });
    expect([answer.status, answer.json.reason]).toEqual([403, expect.stringContaining('waits for others')]);
    await put(first, { ...(await token(first)), lock: 5, done: 6, exit_code: 0 });
    await waitUntil('the second to be let go', async () => (await viewsOf(second))[0] === 'todo');
    const third = await submit('--name', 'third', '--not-before', '1h', '--', 'true');
    expect(await viewsOf(third)).toEqual([]);
    await pilotage('cancel', third.replace('pilotage:', ''));
    expect(await viewsOf(third)).toEqual(['error']);
    await pilotage('cancel', second.replace('pilotage:', ''));
    expect(await viewsOf(second)).toEqual(['error']);
  });

  test('every field survives as it was written, whoever changes the task', async () => {
    const odd =
      '"big":9007199254740993,"one":1.0,"small":1e-400,"zero":-0.0,"deep":{"a":[1.50,null,true,"\\u2028é",{"__proto__":{"x":1}}]},"constructor":2,"":3';
    const text = `{"type":"token","lock":0,"done":0,"hostname":"","scrub_count":0,"exit_code":"","command":"true",${odd}}`;
    expect((await pool.ask(`PUT ${db}/odd`, { body: text })).status).toBe(201);
    const written = odd.replace('\\u2028', '\u2028');
    const read = async () => (await pool.ask(`GET ${db}/odd`)).text;
    expect(await read()).toContain(written);
    await work();
    expect([await viewsOf('odd'), await read()]).toEqual([['done'], expect.stringContaining(written)]);
    const { text: listed } = await pool.ask(`GET ${db}/_all_docs?include_docs=true&key="odd"`);
    expect(listed).toContain(written);
    await pool.server.kill();
    await pool.server.restart();
    expect(await read()).toContain(written);
  });
});

describe('web pages for a browser', () => {
  test('show databases, how many tokens are in which state, and the rows of views; the links lead on', async () => {
    await put('page <b>&', { ...fresh });
    const start = await pool.ask('GET /_utils');
    expect(start.headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(linksIn(start.text)).toEqual([`/_utils/${pool.database}`]);
    const database = await pool.ask(`GET /_utils/${pool.database}`);
    expect(database.text).toMatch(/<th scope="row">todo<\/th><td>\d+<\/td>/);
    const todo = linksIn(database.text).find((link) => link.endsWith('/todo')) as string;
    const rows = await pool.ask(`GET ${todo}`);
    expect(rows.text).toContain('page &#60;b&#62;&#38;');
    expect(rows.text).not.toContain('<b>');
    const document = linksIn(rows.text).find((link) => link.includes('page')) as string;
    expect((await pool.ask(`GET ${document}`)).json._id).toBe('page <b>&');
    for (const link of linksIn(database.text)) expect((await pool.ask(`GET ${link}`)).status).toBe(200);
  });

  test('nobody sees them without a login, and nobody another project', async () => {
    expect((await pool.ask('GET /_utils', { as: 'nobody' })).status).toBe(401);
    expect((await pool.ask('GET /_utils/default')).status).toBe(403);
    expect((await pool.ask('GET /_utils/nosuch')).status).toBe(404);
    const below = await fetch(`${pool.server.url()}/couchdb/_utils`, {
      headers: { authorization: `Basic ${Buffer.from(`${pool.user}:${pool.password}`).toString('base64')}` },
    });
    expect(linksIn(await below.text())).toEqual([`/couchdb/_utils/${pool.database}`]);
  });

  const linksIn = (html: string): string[] => [...html.matchAll(/href="([^"]*)"/g)].map((found) => found[1] ?? '');
});
