import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createChanges } from '../../../src/server/pool/changes.ts';
import type { Parts } from '../../../src/server/pool/parts.ts';
import { type OpenedStore, openStores } from '../../support/open-stores.ts';

describe.each(openStores())('changes on %s', (_name, open) => {
  let opened: OpenedStore;
  let project: number;
  beforeAll(async () => {
    opened = await open();
    await opened.store.createProject({ name: 'p', owner: 'o' });
    project = (await opened.store.listProjects()).find(({ name }) => name === 'p')?.id as number;
  });
  afterAll(() => opened.close());

  const follow = () => createChanges({ store: opened.store } as Parts);
  const put = async (id: string, fields: object = { n: 1 }) => {
    const write = { id, rev: null, deleted: false, body: JSON.stringify(fields), attachments: {}, payload: null };
    const { answers } = await opened.store.writeDocuments({
      projectId: project,
      owner: 'o',
      maxLockMs: 1000,
      writes: [{ ...write, shapeKey: '{}', spec: '{}' }],
    });
    return answers[0]?.ok;
  };

  test('every place that a reader is told of is before what a transaction under way still adds', async ({ skip }) => {
    if (opened.url === undefined) return skip();
    const { read, newest } = follow();
    const begin = await newest(project);
    const slow = new pg.Client({ connectionString: opened.url });
    await slow.connect();
    await slow.query('begin');
    await slow.query(
      `insert into documents (project_id, id, revision, rev_hash, body, sequence) values ($1, 'slow', 1, 'a', '{}', nextval('change_sequence'))`,
      [project],
    );
    await put('fast');
    const page = await read(project, begin);
    const again = await read(project, page.position);
    const places = [await newest(project), page.position, ...page.changes.map((one) => one.position), again.position];
    expect(page.changes.map(({ row, settled }) => [row.id, settled])).toEqual([['fast', false]]);
    await slow.query('commit');
    await slow.end();
    for (const place of places) {
      const { changes } = await read(project, place);
      expect(changes.map(({ row }) => row.id)).toContain('slow');
    }
    const last = await read(project, begin);
    expect(last.changes.every((one) => one.settled)).toBe(true);
    expect((await read(project, last.position)).changes).toEqual([]);
  });

  test('who looks on while nothing changes starts no transaction that counts', async ({ skip }) => {
    if (opened.url === undefined) return skip();
    const { newest } = follow();
    await put('idle');
    await newest(project);
    const beside = new pg.Client({ connectionString: opened.url });
    await beside.connect();
    const next = async () => BigInt((await beside.query('select pg_current_xact_id()::text as id')).rows[0].id);
    const before = await next();
    for (let i = 0; i < 5; i += 1) await newest(project);
    expect((await next()) - before).toBe(1n);
    await beside.end();
  });

  test('a character that PostgreSQL cannot keep does not fail what a client writes', async () => {
    const token = { type: 'token', lock: 5, done: 0, hostname: 'no\0de', exit_code: '' };
    expect(await put('nul', token)).toBe(true);
    const held = { ...token, done: 6, exit_code: 1, error: [{ message: 'x\0y' }] };
    expect(await put('nul-error', held)).toBe(true);
    const [row] = await opened.store.getDocuments({ projectId: project, ids: ['nul'] });
    expect(JSON.parse(row?.body ?? '')).toEqual(token);
    expect(await opened.store.getDocuments({ projectId: project, ids: ['a\0'] })).toEqual([]);
    expect(await opened.store.findUser({ name: 'a\0' })).toBeNull();
  });
});
