import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type PicasPool, startPicasPool } from '../support/picas.ts';
import { hasPython } from '../support/picas-packages.ts';
import { waitUntil } from '../support/wait-until.ts';

describe.skipIf(!hasPython())('many PiCaS clients at once', () => {
  let pool: PicasPool;
  beforeAll(async () => {
    pool = await startPicasPool();
  });
  afterAll(() => pool?.[Symbol.asyncDispose]());

  const push = async (name: string, n: number) => {
    const docs = Array.from({ length: n }, (_, i) => ({
      _id: `${name}-${i}`,
      type: 'token',
      lock: 0,
      done: 0,
      hostname: '',
      scrub_count: 0,
      exit_code: '',
    }));
    const { json } = await pool.ask(`POST /${pool.database}/_bulk_docs`, { body: { docs } });
    expect((json as { ok?: true }[]).filter((one) => one.ok).length).toBe(n);
  };

  /** All begin at the same moment: when the file `go` is there. */
  const crowd = async (note: string, clients: number, seconds: number) => {
    const go = path.join(pool.directory, `go-${note}`);
    const running = Array.from({ length: clients }, () =>
      pool.start(['quick_pilot.py', note, String(seconds)], { env: { GO: go } }),
    );
    await waitUntil('all clients are there', () => running.every((one) => one.stdout().includes('ready')), 120);
    writeFileSync(go, '');
    const ended = await Promise.all(running.map((one) => one.done));
    expect(ended.map((one) => [one.code, one.code === 0 ? '' : one.stderr])).toEqual(ended.map(() => [0, '']));
    const file = path.join(pool.directory, note);
    const lines = existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
    return lines.map((line) => line.split(' ')[0] ?? '').sort();
  };

  test.each([
    ['24 clients on 12 tokens', 'few', 24, 12, 0.05],
    ['12 clients on 600 tokens', 'many', 12, 600, 0],
  ])('%s: each token is run once', async (_what, name, clients, tokens, seconds) => {
    await push(name, tokens);
    const run = await crowd(name, clients, seconds);
    expect(run).toEqual(Array.from({ length: tokens }, (_, i) => `${name}-${i}`).sort());
    expect((await pool.ids('done')).filter((id) => id.startsWith(`${name}-`)).length).toBe(tokens);
    expect([await pool.ids('todo'), await pool.ids('locked'), await pool.ids('error')]).toEqual([[], [], []]);
  });
});
