import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type PicasPool, startPicasPool } from '../support/picas.ts';
import { hasPython } from '../support/picas-packages.ts';
import { startPicasProxy } from '../support/picas-proxy.ts';
import type { Running } from '../support/running-server.ts';
import { waitUntil } from '../support/wait-until.ts';

interface Listed {
  readonly id: string;
  readonly name: string | null;
  readonly state: string;
}

describe.skipIf(!hasPython())('what goes wrong with PiCaS clients', () => {
  let pool: PicasPool;
  let n = 0;
  /** The token of a test, or what its tokens are called by. */
  let id: string;
  beforeAll(async () => {
    pool = await startPicasPool();
  });
  afterAll(() => pool?.[Symbol.asyncDispose]());
  beforeEach(async () => {
    n += 1;
    id = `t${n}`;
    await limits('1h', 2);
  });

  const limits = (age: string, scrubs: number) =>
    pool.server.json(['project', 'set', pool.database, '--max-lock-age', age, '--max-scrubs', String(scrubs)]);
  const fresh = { type: 'token', lock: 0, done: 0, hostname: '', scrub_count: 0, exit_code: '' };
  const push = async (name = id) => {
    expect((await pool.ask(`PUT /${pool.database}/${name}`, { body: fresh })).status).toBe(201);
  };
  const token = async (name = id) => (await pool.ask(`GET /${pool.database}/${name}`)).json;
  const isIn = (view: string, name = id) =>
    waitUntil(`${name} in ${view}`, async () => (await pool.ids(view)).includes(name), 60);
  const gate = (name: string) => path.join(pool.directory, `${id}-${name}`);
  const open = (name: string) => writeFileSync(gate(name), '');
  /** A client that works on each token until its gate is opened. */
  const client = (name: string, env: Record<string, string> = {}) =>
    pool.start(['quick_pilot.py', `${id}.note`], { env: { UNTIL: gate(name), ...env } });
  const runs = (): string[] => {
    const file = path.join(pool.directory, `${id}.note`);
    if (!existsSync(file)) return [];
    return readFileSync(file, 'utf8')
      .trim()
      .split('\n')
      .map((line) => line.split(' ')[0] ?? '');
  };
  const kill = async ({ child, done }: Running) => {
    child.kill('SIGKILL');
    await done;
  };
  const taskOf = async (name = id): Promise<string> => {
    const tasks = await pool.server.json<Listed[]>(['tasks', '--project', pool.database]);
    return tasks.find((task) => task.name === name)?.id ?? 'none';
  };

  test('a token whose client was killed is free again after a while, counted, and another client runs it', async () => {
    await push();
    await limits('1s', 2);
    const killed = client('never');
    await isIn('locked');
    await kill(killed);
    await isIn('todo');
    expect(await token()).toMatchObject({ ...fresh, scrub_count: 1 });
    open('now');
    expect((await client('now').done).code).toBe(0);
    expect(await token()).toMatchObject({ exit_code: 0, scrub_count: 1 });
    expect(runs()).toEqual([id, id]);
  });

  test('each write of the holder is a sign of life', async () => {
    await push();
    await limits('2s', 2);
    const standing = await token();
    const claim = { ...standing, lock: Math.floor(Date.now() / 1000), hostname: 'here' };
    let { rev } = (await pool.ask(`PUT /${pool.database}/${id}`, { body: claim })).json as { rev: string };
    const since = performance.now();
    let percent = 0;
    await waitUntil('twice the time to be over', async () => {
      percent += 1;
      const answer = await pool.ask(`PUT /${pool.database}/${id}`, { body: { ...claim, _rev: rev, percent } });
      expect(answer.status).toBe(201);
      rev = answer.json.rev;
      return performance.now() - since > 5000;
    });
    expect((await token()).scrub_count).toBe(0);
    await isIn('todo');
    await pool.ask(`DELETE /${pool.database}/${id}?rev=${(await token())._rev}`);
  });

  test('a token that is lost again and again ends in error, with the reason', async () => {
    await push();
    await limits('1s', 2);
    for (const view of ['todo', 'error']) {
      const killed = client('never');
      await isIn('locked');
      await kill(killed);
      await isIn(view);
    }
    const { error, ...rest } = await token();
    expect(rest).toMatchObject({ lock: 99, done: 99 });
    expect(error.at(-1).message).toMatch(/not heard of any more.*no more than 2/);
    expect(await pool.ids('error')).toContain(id);
    const { stdout } = await pool.server.run(['task', await taskOf()]);
    expect(stdout).toContain('failed');
    expect(stdout).toContain('worker-lost');
  });

  describe('a result that comes after its token was given to another client', () => {
    /** First has it, is taken for dead (or reset by a person), and second has it. */
    const twoHolders = async (env: Record<string, string>, how: 'silence' | 'reset') => {
      await push();
      const first = client('first', env);
      await isIn('locked');
      if (how === 'reset') await pool.python(['reset_tokens.py', 'Monitor/locked', '0']);
      else {
        // The age counts from the next sign of life on: the one that is held is told it with a write.
        await pool.server.json(['project', 'set', pool.database, '--max-lock-age', '1s']);
        await pool.ask(`PUT /${pool.database}/${id}`, { body: { ...(await token()), note: 'still there' } });
      }
      await isIn('todo');
      await limits('1h', 2);
      const second = client('second');
      await isIn('locked');
      return { first, second };
    };

    test.each(['silence', 'reset'] as const)('is refused and kept aside (%s)', async (how) => {
      const { first, second } = await twoHolders({}, how);
      const held = await token();
      open('first');
      expect((await first.done).code).toBe(0);
      expect(await token()).toEqual(held);
      const shown = await pool.server.run(['task', await taskOf()]);
      expect(shown.stdout).toContain('1 result kept aside');
      open('second');
      expect((await second.done).code).toBe(0);
      expect(await token()).toMatchObject({ exit_code: 0, scrub_count: 1 });
    });

    test.each(['silence', 'reset'] as const)('does not take the token from its new holder (%s)', async (how) => {
      const { first, second } = await twoHolders({ FAIL: '7', SCRUBS: '5' }, how);
      const held = await token();
      open('first');
      const { code, stderr } = await first.done;
      expect([code, stderr]).toEqual([1, expect.stringContaining('ResourceConflict')]);
      expect(await token()).toEqual(held);
      open('second');
      expect((await second.done).code).toBe(0);
      expect(await token()).toMatchObject({ exit_code: 0, scrub_count: 1 });
    });

    test('does not undo the result of its new holder', async () => {
      const { first, second } = await twoHolders({ FAIL: '7', SCRUBS: '5' }, 'silence');
      open('second');
      expect((await second.done).code).toBe(0);
      const ended = await token();
      open('first');
      expect((await first.done).code).toBe(1);
      expect(await token()).toEqual(ended);
    });
  });

  test('a claim whose reply is lost on the way is given back after a while, and run once', async () => {
    await push();
    await limits('2s', 2);
    const proxy = await startPicasProxy(pool.url);
    proxy.lose((method, where) => method === 'PUT' && where.endsWith(`/${id}`), 1);
    open('now');
    expect((await client('now', { POOL_URL: proxy.url }).done).code).toBe(0);
    expect([proxy.lost, await pool.ids('locked'), runs()]).toEqual([1, [id], []]);
    await isIn('todo');
    expect((await client('now', { POOL_URL: proxy.url }).done).code).toBe(0);
    expect([await token(), runs()]).toMatchObject([{ scrub_count: 1, exit_code: 0 }, [id]]);
    await proxy.close();
  });

  test('a claim whose client is gone before the reply could be sent is undone at once, and not counted', async () => {
    await push();
    // While somebody else holds the database, the server waits with the claim.
    const database = new DatabaseSync(path.join(pool.server.data, 'pilotage.db'));
    for (let i = 0; i < 3; i += 1) {
      const body = JSON.stringify({ ...(await token()), lock: 1_800_000_000 + i, hostname: 'gone' });
      database.exec('begin immediate');
      const socket = await send(`PUT /${pool.database}/${id}`, body);
      for (let look = 0; look < 5; look += 1) expect((await token()).lock).toBe(0);
      socket.destroy();
      expect((await token()).lock).toBe(0);
      database.exec('rollback');
      const seen = await waitUntil('the claim is made and undone', async () => {
        const now = await token();
        return Number.parseInt(now._rev, 10) >= 3 + 2 * i && now;
      });
      expect(seen).toMatchObject(fresh);
    }
    database.close();
    open('now');
    expect((await client('now').done).code).toBe(0);
    expect(await token()).toMatchObject({ exit_code: 0, scrub_count: 0 });
  });

  /** Sent to the last byte, and nothing is read. */
  const send = async (line: string, body: string): Promise<Socket> => {
    const login = Buffer.from(`${pool.user}:${pool.password}`).toString('base64');
    const socket = connect(Number(new URL(pool.url).port), '127.0.0.1').on('error', () => {});
    const head = `${line} HTTP/1.1\r\nhost: x\r\nauthorization: Basic ${login}\r\ncontent-type: application/json\r\n`;
    await new Promise((resolve) =>
      socket.write(`${head}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`, resolve),
    );
    return socket;
  };

  const crowd = async (count: number, tokens: number) => {
    const docs = Array.from({ length: tokens }, (_, i) => ({ ...fresh, _id: `${id}-${i}` }));
    expect((await pool.ask(`POST /${pool.database}/_bulk_docs`, { body: { docs } })).status).toBe(201);
    return clients(count);
  };
  const clients = (count: number) =>
    Array.from({ length: count }, () => pool.start(['quick_pilot.py', `${id}.note`, '0.05']));
  /** Further clients come until all is done; then each token ran once, and once more for each time it was given back. */
  const runToTheEnd = async (tokens: number) => {
    await waitUntil(
      'all tokens are done',
      async () => {
        for (const one of clients(4)) await one.done;
        const done = (await pool.ids('done')).filter((one) => one.startsWith(`${id}-`));
        return done.length === tokens;
      },
      120,
    );
    const all = runs();
    for (let i = 0; i < tokens; i += 1) {
      const { scrub_count: scrubs } = await token(`${id}-${i}`);
      const times = all.filter((one) => one === `${id}-${i}`).length;
      expect([i, times >= 1, times <= 1 + scrubs]).toEqual([i, true, true]);
    }
  };

  test('of many clients some are killed: every token is run all the same', async () => {
    await limits('2s', 5);
    const running = await crowd(8, 120);
    await waitUntil('they work', () => runs().length > 20);
    for (const one of running.slice(0, 4)) await kill(one);
    for (const one of running.slice(4)) expect((await one.done).code).toBe(0);
    await runToTheEnd(120);
  });

  test('the server is killed while 12 clients work: none of their tokens is lost, none runs twice but those given back', async () => {
    await limits('3s', 5);
    const running = await crowd(12, 240);
    await waitUntil('they work', () => runs().length > 40);
    await pool.server.kill('SIGKILL');
    await pool.server.restart();
    for (const { done } of running) {
      const { code, stderr } = await done;
      if (code !== 0)
        expect(stderr).toMatch(/Connection(Refused|Reset)Error|RemoteDisconnected|BrokenPipe|BadStatusLine/);
    }
    await runToTheEnd(240);
  });
});
