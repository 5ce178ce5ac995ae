import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type PicasPool, startPicasPool } from '../support/picas.ts';
import { hasPython } from '../support/picas-packages.ts';
import { waitUntil } from '../support/wait-until.ts';

/** As the example of the client: says when and where, runs the input, and whether it went well. */
const PROCESS_TASK = `#!/bin/sh
hostname
echo "$1"
echo "output_$2"
eval "$1"
`;

describe.skipIf(!hasPython())('the PiCaS client, as it is published', () => {
  let pool: PicasPool;
  beforeAll(async () => {
    pool = await startPicasPool();
    writeFileSync(path.join(pool.directory, 'process_task.sh'), PROCESS_TASK);
    chmodSync(path.join(pool.directory, 'process_task.sh'), 0o755);
  });
  afterAll(() => pool?.[Symbol.asyncDispose]());
  afterEach(async () => {
    for (const view of ['todo', 'locked', 'done', 'error']) await pool.python(['delete_tokens.py', `Monitor/${view}`]);
  });

  const push = (lines: readonly string[], cores: readonly number[] = []): Promise<string> => {
    writeFileSync(path.join(pool.directory, 'lines.txt'), `${lines.join('\n')}\n`);
    return pool.python(['push_tokens.py', 'lines.txt', ...cores.map(String)]);
  };
  const pilot = (settings: object) => pool.python(['pilot.py'], { env: { PILOT: JSON.stringify(settings) } });
  const token = async (id: string) => (await pool.ask(`GET /${pool.database}/${id}`)).json;
  const totals = async () => {
    const { json } = await pool.ask(`GET /${pool.database}/_design/Monitor/_view/overview_total?group=true`);
    return Object.fromEntries((json.rows as { key: string; value: number }[]).map(({ key, value }) => [key, value]));
  };

  test('its command line writes its configuration, changes the password, and shows it again', async () => {
    const config = path.join(pool.directory, 'conf.yml');
    const cli = (...words: string[]) => pool.python(['-m', 'picas.apps.picas_cli', ...words]);
    const { url, database, user, password } = pool;
    mkdirSync(path.join(pool.directory, '.config'));
    const init = ['init', '--host-url', url, '--database', database, '--username', user];
    await cli('--config', config, ...init, '--password', password);
    await cli('--config', config, 'passwd', '--new-password', 'a new one: "ü"');
    const changed = [user, 'a new one: "ü"'] as const;
    expect((await pool.ask(`GET /${database}`, { as: changed })).status).toBe(200);
    expect((await pool.ask(`GET /${database}`)).status).toBe(401);
    expect(await cli('dump-config', '--config', config)).toContain(`PICAS_PASSWORD = 'a new one: "ü"'`);
    await cli('--config', config, 'passwd', '--new-password', password);
    expect((await pool.ask(`GET /${database}`)).status).toBe(200);
  });

  test('every call of the client is answered as by CouchDB', async () => {
    const mine = await pool.ask(`GET /${pool.database}/_security`, { as: 'admin' });
    expect(await pool.python(['client_calls.py'])).toContain('all well');
    await pool.ask(`PUT /${pool.database}/_security`, { as: 'admin', body: mine.json });
  });

  test('tokens are pushed, run, and carry their logs', async () => {
    await pool.python(['create_views.py']);
    expect(await push(["echo 'this is token A'", "echo 'this is token B'", "echo 'this is token C'"])).toBe('True\n');
    expect(await totals()).toEqual({ todo: 3 });
    const output = await pilot({ max_token_time: 1800, max_total_time: 3600, max_tasks: 10, max_scrub: 2 });
    expect(output).toContain('tokens 3');
    expect(await totals()).toEqual({ done: 3 });
    const [id = ''] = await pool.ids('done');
    expect(await token(id)).toMatchObject({ exit_code: 0, scrub_count: 0, _attachments: {} });
    const log = await pool.ask(`GET /${pool.database}/${id}/logs%20${id}.out`);
    expect(log.text).toMatch(/this is token [ABC]\n$/);
    expect((await pool.ask(`GET /${pool.database}/${id}/logs%20${id}.err`)).text).toContain('elapsed');
  });

  test('the views of the standard set and of the autopilot can be made again and again', async () => {
    for (let i = 0; i < 2; i += 1) await pool.python(['create_views.py', 'autopilot']);
    await push(['true', 'true', 'true'], [1, 1, 4]);
    expect([(await pool.ids('todo', 'SingleCore')).length, (await pool.ids('todo', 'MultiCore')).length]).toEqual([
      2, 1,
    ]);
    expect(await pilot({ design_doc: 'MultiCore' })).toContain('tokens 1');
    expect(await totals()).toEqual({ todo: 2, done: 1 });
  });

  test('a token that fails is tried again as often as the pilot says, then it is in error', async () => {
    await push(['exit 3']);
    expect(await pilot({ max_scrub: 2 })).toContain('tokens 3');
    const [id = ''] = await pool.ids('error');
    expect(await token(id)).toMatchObject({ scrub_count: 2, exit_code: 3 });
  });

  test('a token over its time is in error with the reason, and the pilot goes on', async () => {
    await push(['sleep 2', 'true']);
    expect(await pilot({ max_token_time: 1 })).toContain('tokens 2');
    expect(await totals()).toEqual({ done: 1, error: 1 });
    const [id = ''] = await pool.ids('error');
    expect(await token(id)).toMatchObject({
      lock: 99,
      done: 99,
      error: [{ message: expect.stringContaining('Timeout') }],
    });
  });

  test('a pilot ends after its number of tokens, and after its time', async () => {
    await push(['true', 'true', 'true', 'sleep 1', 'sleep 1']);
    expect(await pilot({ max_tasks: 2 })).toContain('tokens 2');
    expect((await totals()).done).toBe(2);
    await pilot({ max_total_time: 0.01 });
    expect((await totals()).done).toBe(3);
  });

  test('a pilot that is told to end gives its token back, counted', async () => {
    await push(['sleep 4']);
    const running = pool.start(['pilot.py']);
    const [id = ''] = await waitUntil('a token is locked', async () => {
      const ids = await pool.ids('locked');
      return ids.length > 0 && ids;
    });
    running.child.kill('SIGTERM');
    expect((await running.done).code).toBe(0);
    expect(await token(id)).toMatchObject({ lock: 0, done: 0, scrub_count: 1 });
    expect(await pool.ids('todo')).toEqual([id]);
  });

  test('locked tokens are reset and finished ones deleted by the usual scripts', async () => {
    await push(['true', 'true']);
    await pilot({ max_tasks: 1 });
    const [id = ''] = await pool.ids('todo');
    const standing = await token(id);
    await pool.ask(`PUT /${pool.database}/${id}`, { body: { ...standing, lock: 1_700_000_000, hostname: 'lost' } });
    expect(await pool.python(['reset_tokens.py', 'Monitor/locked', '24'])).toBe('1\n');
    expect(await token(id)).toMatchObject({ lock: 0, done: 0, hostname: '', scrub_count: 1 });
    expect(await pool.python(['delete_tokens.py', 'Monitor/done'])).toBe('1\n');
    expect(await totals()).toEqual({ todo: 1 });
  });

  test('the autopilot asks whether there is work before it asks the batch system for a pilot', async () => {
    await pool.python(['create_views.py', 'autopilot']);
    const sbatch = path.join(pool.directory, 'sbatch');
    writeFileSync(sbatch, '#!/bin/sh\necho "$@" >> submitted\n', { mode: 0o755 });
    const autopilot = async () => {
      writeFileSync(path.join(pool.directory, 'submitted'), '');
      await pool.python(['autopilot.py'], { env: { PATH: `${pool.directory}:${process.env.PATH}` } });
      return readFileSync(path.join(pool.directory, 'submitted'), 'utf8');
    };
    expect(await autopilot()).toBe('');
    await push(['true'], [4]);
    expect(await autopilot()).toBe('--cpus-per-task=4 --export=ALL,VIEW=todo,DESIGN_DOC=MultiCore pilot.sh\n');
  });
});
