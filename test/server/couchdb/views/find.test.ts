import { expect, test } from 'vitest';
import type { FindRequest } from '../../../../src/server/couchdb/views/views.ts';
import { databaseOf, openTestViews, pretendDatabase, token } from './pretend-database.ts';

const DOCUMENTS: Record<string, object> = {
  ada: { age: 36, name: { first: 'Ada', last: 'Lovelace' }, tags: ['math', 'poet'], exit_code: 0 },
  bob: { age: 20, name: { first: 'Bob' }, tags: [], exit_code: '' },
  cyd: { age: 36, name: { first: 'cyd' }, scores: [{ n: 1 }, { n: 5 }], exit_code: null },
  dan: { age: '36', 'a.b': 1, exit_code: 1 },
  _design_like: { age: 1 },
};

async function find(request: FindRequest): Promise<object[]> {
  const { views, name } = await databaseOf({ ...DOCUMENTS, '_design/x': { age: 36 } });
  return (await views.find(name, request)).docs;
}

const ids = async (request: FindRequest): Promise<string> =>
  (await find({ ...request, fields: ['_id'] })).map((document) => (document as { _id: string })._id).join(' ');

/** [selector, ids in order]. Facts of CouchDB: its mango tests, and mango_selector.erl. */
const SELECTORS: ReadonlyArray<readonly [object, string]> = [
  [{}, '_design_like ada bob cyd dan'],
  [{ age: 36 }, 'ada cyd'],
  [{ exit_code: { $eq: 0 } }, 'ada'],
  [{ exit_code: null }, 'cyd'],
  [{ age: { $gt: 20 } }, 'ada cyd dan'],
  [{ age: { $gt: 20, $lt: 'a' } }, 'ada cyd dan'],
  [{ age: { $gte: 20, $lte: 36 } }, 'ada bob cyd'],
  [{ exit_code: { $ne: 0 } }, 'bob cyd dan'],
  [{ exit_code: { $exists: false } }, '_design_like'],
  [{ exit_code: { $exists: true } }, 'ada bob cyd dan'],
  [{ $not: { exit_code: { $exists: true } } }, '_design_like'],
  [{ 'name.first': 'Ada' }, 'ada'],
  [{ name: { first: 'Ada' } }, 'ada'],
  [{ name: { first: { $in: ['Ada', 'Bob'] } } }, 'ada bob'],
  [{ 'a\\.b': 1 }, 'dan'],
  [{ tags: { $in: ['poet', 'x'] } }, 'ada'],
  [{ tags: { $nin: ['poet'] } }, 'bob'],
  [{ tags: { $all: ['math', 'poet'] } }, 'ada'],
  [{ tags: { $size: 0 } }, 'bob'],
  [{ tags: [] }, 'bob'],
  [{ scores: { $elemMatch: { n: { $gt: 4 } } } }, 'cyd'],
  [{ scores: { $allMatch: { n: { $gt: 0 } } } }, 'cyd'],
  [{ tags: { $elemMatch: { $eq: 'math' } } }, 'ada'],
  [{ 'scores.1.n': 5 }, 'cyd'],
  [{ age: { $type: 'string' } }, 'dan'],
  [{ age: { $mod: [10, 6] } }, 'ada cyd'],
  [{ 'name.first': { $regex: '^[AB]' } }, 'ada bob'],
  [{ 'name.first': { $not: { $regex: '^A' } } }, 'bob cyd'],
  [{ 'name.last': { $beginsWith: 'Love' } }, 'ada'],
  [{ $or: [{ age: 20 }, { age: 1 }] }, '_design_like bob'],
  [{ $and: [{ age: 36 }, { tags: { $exists: true } }] }, 'ada'],
  [{ $nor: [{ age: 36 }, { age: 20 }] }, '_design_like dan'],
  [{ $not: { $or: [{ age: 36 }, { age: 20 }] } }, '_design_like dan'],
  [{ $not: { age: { $gt: 20 } } }, '_design_like bob'],
  [{ _id: { $gt: 'b' } }, 'bob cyd dan'],
];

test.each(SELECTORS)('%j finds %s', async (selector, expected) => {
  expect(await ids({ selector })).toBe(expected);
});

test('sort, limit, skip and fields', async () => {
  expect(await ids({ selector: {}, sort: ['age'] })).toBe('_design_like bob ada cyd dan');
  expect(await ids({ selector: {}, sort: [{ age: 'desc' }] })).toBe('dan cyd ada bob _design_like');
  expect(await ids({ selector: {}, sort: ['name.first'] })).toBe('ada bob cyd');
  expect(await ids({ selector: {}, sort: ['age', '_id'], skip: 1, limit: 2 })).toBe('bob ada');
  expect(await ids({ selector: {}, skip: 1, limit: 2 })).toBe('ada bob');
  expect(await ids({ selector: {}, limit: 0 })).toBe('');
  expect(await find({ selector: { _id: 'ada' }, fields: ['_id', 'name.first', 'none', 'tags'] })).toEqual([
    { _id: 'ada', name: { first: 'Ada' }, tags: ['math', 'poet'] },
  ]);
  expect(await find({ selector: { _id: 'bob' } })).toEqual([{ _id: 'bob', _rev: '1-abc', ...DOCUMENTS.bob }]);
});

/** [request, error] */
const REFUSED: ReadonlyArray<readonly [object, string]> = [
  [{ selector: { a: { $foo: 1 } } }, 'invalid_operator'],
  [{ selector: { a: { constructor: { $toString: 1 } } } }, 'invalid_operator'],
  [{ selector: { a: { $in: 5 } } }, 'bad_arg'],
  [{ selector: { $and: {} } }, 'bad_arg'],
  [{ selector: { a: { $regex: '(' } } }, 'bad_arg'],
  [{ selector: { a: { $mod: [0, 1] } } }, 'bad_arg'],
  [{ selector: [] }, 'bad_request'],
  [{ selector: {}, sort: [{ a: 'up' }] }, 'invalid_sort_json'],
  [{ selector: {}, sort: [{ a: 'asc' }, { b: 'desc' }] }, 'unsupported_mixed_sort'],
  [{ selector: {}, fields: 'a' }, 'invalid_fields_json'],
];

test.each(REFUSED)('%j is refused', async (request, error) => {
  await expect(find(request as FindRequest)).rejects.toMatchObject({ details: { couch: { status: 400, error } } });
});

test('a pattern that backtracks for ever is refused, and the thread goes on', async () => {
  const database = pretendDatabase();
  database.put('a', { text: `${'a'.repeat(60)}b` });
  const { views } = await openTestViews(database);
  const request = { selector: { text: { $regex: '^(a+)+$' } } };
  await expect(views.find('db', request)).rejects.toMatchObject({
    details: { couch: { status: 400, reason: expect.stringContaining('takes too long') } },
  });
  expect((await views.find('db', { selector: {} })).docs).toHaveLength(1);
});

test('find sees what was committed before it, and what was deleted no more', async () => {
  const database = pretendDatabase(100);
  for (let n = 0; n < 2000; n++) database.put(`d${n}`, token({ n }));
  const { views } = await openTestViews(database);
  const request = { selector: { type: 'token' }, limit: 10_000 };
  expect((await views.find('db', request)).docs).toHaveLength(2000);
  expect((await views.find('db', { selector: {} })).docs).toHaveLength(25);
  database.remove('d5');
  database.put('d6', { type: 'other' });
  expect((await views.find('db', request)).docs).toHaveLength(1998);
});

test('a document that nests deep breaks no find', async () => {
  const database = pretendDatabase();
  database.putJson('a', `{"_id":"a","x":${'['.repeat(5000)}${']'.repeat(5000)}}`);
  const { views } = await openTestViews(database);
  expect((await views.find('db', { selector: { x: { $gt: 1 } } })).docs).toEqual([]);
  expect((await views.find('db', { selector: {}, fields: ['_id'] })).docs).toEqual([{ _id: 'a' }]);
});
