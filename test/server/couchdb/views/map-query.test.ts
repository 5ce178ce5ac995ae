import { expect, test } from 'vitest';
import type { ViewQuery } from '../../../../src/server/couchdb/views/views.ts';
import { askOnce, design, openTestViews, pretendDatabase } from './pretend-database.ts';

/** Keys 1 to 5; of key 3 there are three documents, one of which has two rows. */
const DOCUMENTS = {
  d: { k: [4] },
  a: { k: [1] },
  b: { k: [2] },
  c1: { k: [3] },
  c2: { k: [3, 3] },
  c3: { k: [3] },
  e: { k: [5] },
};
const MAP = 'function(doc) { doc.k.forEach(function (k) { emit(k, doc._id + k); }); }';

/** [what, query, ids in order, offset] */
const CASES: ReadonlyArray<readonly [string, ViewQuery, string, number]> = [
  ['all, by key and then by id', {}, 'a b c1 c2 c2 c3 d e', 0],
  ['limit', { limit: 2 }, 'a b', 0],
  ['limit 0', { limit: 0 }, '', 0],
  ['skip', { skip: 6 }, 'd e', 6],
  ['skip beyond the end', { skip: 60 }, '', 8],
  ['descending', { descending: true }, 'e d c3 c2 c2 c1 b a', 0],
  ['descending with limit and skip', { descending: true, skip: 1, limit: 2 }, 'd c3', 1],
  ['key', { key: 3 }, 'c1 c2 c2 c3', 2],
  ['a key that is not there', { key: 3.5 }, '', 6],
  ['startkey', { startKey: 4 }, 'd e', 6],
  ['endkey', { endKey: 2 }, 'a b', 0],
  ['endkey left out', { endKey: 3, inclusiveEnd: false }, 'a b', 0],
  ['startkey and endkey', { startKey: 2, endKey: 3 }, 'b c1 c2 c2 c3', 1],
  ['startkey_docid', { startKey: 3, startKeyDocId: 'c2' }, 'c2 c2 c3 d e', 3],
  ['startkey_docid and endkey_docid', { startKey: 3, endKey: 3, startKeyDocId: 'c2', endKeyDocId: 'c2' }, 'c2 c2', 3],
  ['a document id without a key means nothing', { startKeyDocId: 'c2' }, 'a b c1 c2 c2 c3 d e', 0],
  ['startkey and endkey descending', { startKey: 3, endKey: 2, descending: true }, 'c3 c2 c2 c1 b', 2],
  ['endkey left out descending', { startKey: 4, endKey: 3, descending: true, inclusiveEnd: false }, 'd', 1],
  ['startkey_docid descending', { startKey: 3, startKeyDocId: 'c2', descending: true }, 'c2 c2 c1 b a', 3],
  ['keys, in the order given, also twice', { keys: [4, 1, 9, 4] }, 'd a d', 6],
  ['keys with limit and skip', { keys: [3, 1], skip: 3, limit: 2 }, 'c3 a', 5],
  ['keys and skip past one of them', { keys: [4, 3, 1], skip: 2, limit: 2 }, 'c2 c2', 8],
];

test.each(CASES)('%s', async (_what, query, ids, offset) => {
  const result = await askOnce(DOCUMENTS, MAP, query);
  expect(result.rows.map(({ id }) => id).join(' ')).toBe(ids);
  expect({ totalRows: result.totalRows, offset: result.offset }).toEqual({ totalRows: 8, offset });
});

/** [what, query, a part of the reason] */
const REFUSED: ReadonlyArray<readonly [string, ViewQuery, RegExp]> = [
  ['startkey behind endkey', { startKey: 3, endKey: 2 }, /^No rows can match your key range.*descending=true$/],
  ['the same descending', { startKey: 2, endKey: 3, descending: true }, /descending=false$/],
  ['keys beside key', { keys: [1], key: 1 }, /^`keys` is incompatible/],
  ['reduce of a view without', { reduce: true }, /^Reduce is invalid for map-only views/],
  ['group of a view without', { group: true }, /^Invalid use of grouping on a map view/],
  ['a negative limit', { limit: -1 }, /limit/],
];

test.each(REFUSED)('%s is refused as CouchDB refuses it', async (_what, query, reason) => {
  await expect(askOnce(DOCUMENTS, MAP, query)).rejects.toMatchObject({
    details: { couch: { status: 400, error: 'query_parse_error', reason: expect.stringMatching(reason) } },
  });
});

test('a view that is not there is not found', async () => {
  const { views } = await openTestViews(pretendDatabase());
  await expect(views.query('db', design({ a: MAP }), 'b', {})).rejects.toMatchObject({
    code: 'not-found',
    details: { couch: { status: 404, error: 'not_found', reason: 'missing_named_view' } },
  });
});

test('an empty database has an empty view', async () => {
  expect(await askOnce({}, MAP)).toMatchObject({ totalRows: 0, offset: 0, rows: [] });
});

test('keys of all kinds come in the order of CouchDB, and values as they were emitted', async () => {
  const map = `function(doc) {
    emit({}, undefined); emit(['b'], {x: [1, 'ü']}); emit(['a', 1], 1.5); emit('B', 'b'); emit('a', "l1\\nl2"); emit('A', true);
    emit(10, null); emit(9, -0); emit(true, function () {}); emit(false); emit(null, new Date(0)); emit();
  }`;
  const { rows } = await askOnce({ a: {} }, map);
  expect(rows.map(({ key, value }) => [key, value])).toEqual([
    [null, '1970-01-01T00:00:00.000Z'],
    [null, null],
    [false, null],
    [true, null],
    [9, 0],
    [10, null],
    ['a', 'l1\nl2'],
    ['A', true],
    ['B', 'b'],
    [['a', 1], 1.5],
    [['b'], { x: [1, 'ü'] }],
    [{}, null],
  ]);
});

test('ids with spaces, slashes, quotes and signs come back as they are', async () => {
  const names = ['a/b', 'a b', 'é', '"', "'; drop table", '😀', '\\', '%2F', 'a\nb'];
  const documents = Object.fromEntries(names.map((name) => [name, {}]));
  const { rows } = await askOnce(documents, 'function(doc) { emit(null, doc._id) }');
  expect(rows.map(({ id }) => id).sort()).toEqual([...names].sort());
  for (const { id, value } of rows) expect(value).toBe(id);
});

/** The forms in which people write functions. */
const FORMS = [
  'function(doc) { emit(1) }',
  'function (doc) { emit(1); };',
  '\n\n  function(doc) {\n  emit(1)\n};  \n',
  '// first\nfunction(doc) { emit(1) } // last',
  '/* first */ function(doc) { emit(1) }; /* last */',
  'function byName(doc) { emit(1) }',
  '(doc) => { emit(1) }',
  'doc => emit(1)',
  '(function(doc) { emit(1) })',
  '(function(doc) { emit(1) });',
  'function(doc) { if (isArray([]) && toJSON([1]) === "[1]" && sum([1, 2]) === 3) { log("x"); emit(parseInt("1", 10)) } }',
];

test.each(FORMS)('a function may be written as %j', async (map) => {
  expect((await askOnce({ a: {} }, map)).rows).toEqual([{ id: 'a', key: 1, value: null }]);
});

test('modules of views.lib can be required', async () => {
  const database = pretendDatabase();
  database.put('a', { n: 2 });
  const { views } = await openTestViews(database);
  const text = {
    id: '_design/lib',
    views: {
      lib: {
        double: "exports.of = function (n) { return require('./plain').times(n, 2) }",
        plain: 'exports.times = (a, b) => a * b',
      },
      v: { map: "function(doc) { emit(require('views/lib/double').of(doc.n)) }" },
    } as never,
  };
  expect((await views.query('db', text, 'v', {})).rows).toEqual([{ id: 'a', key: 4, value: null }]);
});

test('functions reach nothing outside', async () => {
  const map = `function(doc) {
    ['process', 'require', 'fetch', 'WebAssembly', 'std', 'os', 'Worker', 'console', 'setTimeout'].forEach(function (name) {
      emit(name, name === 'require' ? typeof require : typeof globalThis[name]);
    });
    try { require('fs'); emit('fs', 'reached') } catch (error) { emit('fs', 'undefined') }
  }`;
  const { rows } = await askOnce({ a: {} }, map);
  expect(rows.filter(({ value }) => value !== 'undefined')).toEqual([{ id: 'a', key: 'require', value: 'function' }]);
});

test('a view cannot change the document that the next one sees', async () => {
  const database = pretendDatabase();
  database.put('a', { list: [1], deep: { n: 1 } });
  const { views } = await openTestViews(database);
  const mutate = 'function(doc) { doc.x = 1; doc.deep.n = 2; delete doc.list; emit(doc.deep.n, doc.x) }';
  const both = design({ a: mutate, b: 'function(doc) { emit(doc.deep.n, [doc.x, doc.list]) }' });
  expect((await views.query('db', both, 'b', {})).rows).toEqual([{ id: 'a', key: 1, value: [null, [1]] }]);
});

test('a language that is not javascript is refused', async () => {
  const { views } = await openTestViews(pretendDatabase());
  const text = { ...design({ v: 'fun({Doc}) -> ok end.' }), language: 'erlang' };
  await expect(views.query('db', text, 'v', {})).rejects.toMatchObject({
    details: { couch: { error: 'unknown_query_language' } },
  });
});
