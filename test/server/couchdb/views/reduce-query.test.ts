import { expect, test } from 'vitest';
import type { ViewQuery } from '../../../../src/server/couchdb/views/views.ts';
import { askOnce, design, openTestViews, pretendDatabase } from './pretend-database.ts';

const DAYS = {
  a: { at: [2024, 1, 1], n: 1 },
  b: { at: [2024, 1, 2], n: 2 },
  c: { at: [2024, 2, 1], n: 3 },
  d: { at: [2025], n: 4 },
  e: { at: 'never', n: 5 },
};
const MAP = 'function(doc) { emit(doc.at, doc.n) }';
const OWN = 'function (keys, values, rereduce) { return sum(values) }';

/** [what, query, rows as [key, value]] */
const CASES: ReadonlyArray<readonly [string, ViewQuery, ReadonlyArray<readonly [unknown, number]>]> = [
  ['all into one', {}, [[null, 15]]],
  [
    'group',
    { group: true },
    [
      ['never', 5],
      [[2024, 1, 1], 1],
      [[2024, 1, 2], 2],
      [[2024, 2, 1], 3],
      [[2025], 4],
    ],
  ],
  [
    'group_level 1',
    { groupLevel: 1 },
    [
      ['never', 5],
      [[2024], 6],
      [[2025], 4],
    ],
  ],
  [
    'group_level 2',
    { groupLevel: 2 },
    [
      ['never', 5],
      [[2024, 1], 3],
      [[2024, 2], 3],
      [[2025], 4],
    ],
  ],
  ['group_level 0', { groupLevel: 0 }, [[null, 15]]],
  [
    'group descending',
    { groupLevel: 1, descending: true },
    [
      [[2025], 4],
      [[2024], 6],
      ['never', 5],
    ],
  ],
  ['limit and skip of groups', { groupLevel: 1, skip: 1, limit: 1 }, [[[2024], 6]]],
  ['a range', { startKey: [2024, 1, 2], endKey: [2024, {}] }, [[null, 5]]],
  ['a range without rows', { startKey: [2026] }, []],
  [
    'keys',
    { group: true, keys: [[2025], [1], 'never'] },
    [
      [[2025], 4],
      ['never', 5],
    ],
  ],
];

for (const reduce of ['_sum', OWN])
  test.each(CASES)(`${reduce}: %s`, async (_what, query, expected) => {
    const { rows } = await askOnce(DAYS, { map: MAP, reduce }, query);
    expect(rows).toEqual(expected.map(([key, value]) => ({ key, value })));
  });

test('keys cannot be reduced into one, as in CouchDB', async () => {
  await expect(askOnce(DAYS, { map: MAP, reduce: '_sum' }, { keys: [1] })).rejects.toMatchObject({
    details: { couch: { status: 400, error: 'query_parse_error' } },
  });
});

test('reduce=false gives the rows themselves', async () => {
  const { rows, totalRows } = await askOnce(DAYS, { map: MAP, reduce: '_sum' }, { reduce: false, limit: 1 });
  expect([rows, totalRows]).toEqual([[{ id: 'e', key: 'never', value: 5 }], 5]);
});

/** [function, values, what comes out of them] */
const BUILTIN: ReadonlyArray<readonly [string, readonly unknown[], unknown]> = [
  ['_count', [1, null, 'x'], 3],
  ['_sum', [1, 2.5, -1], 2.5],
  ['_sum', [[1, 2], [3], 4], [8, 2]],
  [
    '_sum',
    [
      { a: 1, b: { c: 2 } },
      { a: 2, d: [1] },
      { b: { c: 3 }, d: [1, 2] },
    ],
    { a: 3, b: { c: 5 }, d: [2, 2] },
  ],
  ['_stats', [1, 2, 3], { sum: 6, count: 3, min: 1, max: 3, sumsqr: 14 }],
  ['_stats', [{ sum: 5, count: 2, min: 1, max: 4, sumsqr: 17 }, 3], { sum: 8, count: 3, min: 1, max: 4, sumsqr: 26 }],
  [
    '_stats',
    [
      [1, 2],
      [3, 4],
    ],
    [
      { sum: 4, count: 2, min: 1, max: 3, sumsqr: 10 },
      { sum: 6, count: 2, min: 2, max: 4, sumsqr: 20 },
    ],
  ],
  ['_approx_count_distinct', [0, 0, 0], 1],
];

test.each(BUILTIN)('%s of %j', async (reduce, values, expected) => {
  const documents = Object.fromEntries(values.map((n, at) => [`d${at}`, { n }]));
  const { rows } = await askOnce(documents, { map: 'function(doc) { emit(1, doc.n) }', reduce });
  expect(rows).toEqual([{ key: null, value: expected }]);
});

test.each([
  ['_sum', 'x'],
  ['_sum', null],
  ['_sum', { a: 'x' }],
  ['_stats', 'x'],
  ['_stats', { sum: 1 }],
])('%s of %j is an error that says what it wants', async (reduce, n) => {
  await expect(askOnce({ a: { n } }, { map: 'function(doc) { emit(1, doc.n) }', reduce })).rejects.toMatchObject({
    details: { couch: { error: 'builtin_reduce_error', reason: expect.stringContaining(`The ${reduce} function`) } },
  });
});

test('a reduce function that is built in nowhere is refused', async () => {
  await expect(askOnce(DAYS, { map: MAP, reduce: '_median' })).rejects.toMatchObject({
    details: { couch: { error: 'invalid_design_doc' } },
  });
});

test('many rows are reduced in batches, and their reductions again; keys come with their documents', async () => {
  const database = pretendDatabase();
  for (let n = 0; n < 10_000; n++) database.put(`d${String(n).padStart(5, '0')}`, { n });
  const { views } = await openTestViews(database);
  const reduce = `function (keys, values, rereduce) {
    if (rereduce) return values.reduce(function (all, one) {
      return { n: all.n + one.n, calls: all.calls + one.calls, first: all.first < one.first ? all.first : one.first };
    });
    return { n: sum(values), calls: 1, first: keys[0][1] };
  }`;
  const { rows } = await views.query(
    'db',
    design({ v: { map: 'function(doc) { emit(doc.n, doc.n) }', reduce } }),
    'v',
    {},
  );
  expect(rows).toEqual([{ key: null, value: { n: 49_995_000, calls: 3, first: 'd00000' } }]);
});

test('a reduction is remembered until a row changes', async () => {
  const database = pretendDatabase();
  database.put('a', { n: 1 });
  const { views } = await openTestViews(database);
  const random = design({
    v: { map: 'function(doc) { emit(1, doc.n) }', reduce: 'function () { return Math.random() }' },
  });
  const ask = async (): Promise<unknown> => (await views.query('db', random, 'v', {})).rows[0]?.value;
  const first = await ask();
  expect(await ask()).toBe(first);
  database.put('a', { n: 1, other: true });
  expect(await ask()).toBe(first);
  database.put('a', { n: 2 });
  expect(await ask()).not.toBe(first);
});

test('a reduce function that throws gives null, and one that does not end an error for its view alone', async () => {
  const documents = { a: { n: 1 } };
  const map = 'function(doc) { emit(1, 1) }';
  expect((await askOnce(documents, { map, reduce: 'function () { throw 1 }' })).rows).toEqual([
    { key: null, value: null },
  ]);
  await expect(askOnce(documents, { map, reduce: 'function () { for (;;) {} }' })).rejects.toMatchObject({
    details: { couch: { status: 500, error: 'reduce_runtime_error' } },
  });
  await expect(askOnce(documents, { map, reduce: 'function (' })).rejects.toMatchObject({
    details: { couch: { status: 500, error: 'compilation_error', reason: expect.stringContaining("'v'") } },
  });
});
