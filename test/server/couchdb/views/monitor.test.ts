import { expect, test } from 'vitest';
import type { MapResult, Views } from '../../../../src/server/couchdb/views/views.ts';
import { MONITOR, openTestViews, pretendDatabase, token } from './pretend-database.ts';

async function ids(views: Views, view: string): Promise<string[]> {
  const { rows } = (await views.query('db', MONITOR, view, {})) as MapResult;
  for (const { id, key, value } of rows) expect([key, value]).toEqual([id, id]);
  return rows.map(({ id }) => id);
}

const TOKENS = {
  waiting: token(),
  'waiting as text': token({ lock: '0', done: '' }),
  running: token({ lock: 1795264115, hostname: 'vm' }),
  good: token({ lock: 1795264115, done: 1795264116, exit_code: 0 }),
  'good as text': token({ lock: 1795264115, done: 1795264116, exit_code: '0' }),
  bad: token({ lock: 1795264115, done: 1795264116, exit_code: 1 }),
  scrubbed: token({ lock: 99, done: 99 }),
  'no exit code': { type: 'token', lock: 1, done: 1 },
  unlocked: token({ lock: 0, done: 5 }),
  other: { type: 'task', lock: 0, done: 0 },
  bare: {},
};

test('the standard views of a pool of tokens show each token in its state, as CouchDB does', async () => {
  const database = pretendDatabase();
  for (const [id, document] of Object.entries(TOKENS)) database.put(id, document);
  const { views } = await openTestViews(database);
  expect(await ids(views, 'todo')).toEqual(['waiting', 'waiting as text']);
  expect(await ids(views, 'locked')).toEqual(['running']);
  expect(await ids(views, 'done')).toEqual(['good', 'good as text']);
  expect(await ids(views, 'error')).toEqual(['bad', 'no exit code', 'scrubbed']);
  const overview = await views.query('db', MONITOR, 'overview_total', { group: true });
  expect(overview.rows).toEqual([
    { key: 'done', value: 2 },
    { key: 'error', value: 3 },
    { key: 'locked', value: 1 },
    { key: 'todo', value: 2 },
  ]);
  expect((await views.query('db', MONITOR, 'overview_total', {})).rows).toEqual([{ key: null, value: 8 }]);
});

test('a token that is claimed leaves todo at once, and one that is deleted leaves all views', async () => {
  const database = pretendDatabase();
  for (const id of ['a', 'b', 'c']) database.put(id, token());
  const { views } = await openTestViews(database);
  expect(await ids(views, 'todo')).toEqual(['a', 'b', 'c']);
  database.put('b', token({ lock: 5, hostname: 'x' }));
  expect([await ids(views, 'todo'), await ids(views, 'locked')]).toEqual([['a', 'c'], ['b']]);
  database.remove('a');
  expect(await ids(views, 'todo')).toEqual(['c']);
  expect((await views.query('db', MONITOR, 'todo', {})) as MapResult).toMatchObject({ totalRows: 1, offset: 0 });
});

test('design documents are not mapped', async () => {
  const database = pretendDatabase();
  database.put('_design/Monitor', token());
  database.put('a', token());
  const { views } = await openTestViews(database);
  expect(await ids(views, 'todo')).toEqual(['a']);
});
