import { describe, expect, test } from 'vitest';
import type { MapResult } from '../../../../src/server/couchdb/views/views.ts';
import { waitUntil } from '../../../support/wait-until.ts';
import { askOnce, design, openTestViews, pretendDatabase } from './pretend-database.ts';

const GOOD = 'function(doc) { emit(doc._id) }';

/** [what it does, map function, kind of error, a part of the reason] */
const SPOILED: ReadonlyArray<readonly [string, string, string, RegExp]> = [
  ['loops for ever', 'function(doc) { if (doc.bad) for (;;) {} emit(1) }', 'map_runtime_error', /'v'.*longer.*'b'/],
  [
    'loops for ever and catches everything',
    'function(doc) { for (;;) { try { for (;;) {} } catch (e) {} } }',
    'map_runtime_error',
    /longer/,
  ],
  [
    'takes memory without end',
    'function(doc) { var a = []; if (doc.bad) for (;;) a.push(new Array(1000)) }',
    'map_runtime_error',
    /memory.*'b'/,
  ],
  [
    'takes memory in small pieces',
    'function(doc) { var a = []; if (doc.bad) for (;;) a.push({}) }',
    'map_runtime_error',
    /memory.*'b'/,
  ],
  [
    'hides that memory ran out',
    'function(doc) { var a = []; if (doc.bad) try { for (;;) a.push({}) } catch (e) {} }',
    'map_runtime_error',
    /memory.*'b'/,
  ],
  ['makes one huge text', 'function(doc) { if (doc.bad) emit("x".repeat(1e9)) }', 'map_runtime_error', /memory.*'b'/],
  [
    'emits a million rows',
    'function(doc) { if (doc.bad) for (var i = 0; i < 1e6; i++) emit(i) }',
    'map_runtime_error',
    /10000 rows.*'b'/,
  ],
  [
    'emits a million rows and hides it',
    'function(doc) { for (var i = 0; i < 1e6; i++) try { emit(i) } catch (e) {} }',
    'map_runtime_error',
    /10000 rows/,
  ],
  ['emits a value that is too long', 'function(doc) { emit(1, "x".repeat(9e6)) }', 'map_runtime_error', /characters/],
  [
    'emits a key that nests deep',
    'function(doc) { var k = 1; for (var i = 0; i < 300; i++) k = [k]; emit(k) }',
    'map_runtime_error',
    /nests deeper/,
  ],
  [
    'has a pattern that backtracks for ever',
    'function(doc) { /^(a+)+$/.test("a".repeat(50) + "b") }',
    'map_runtime_error',
    /longer/,
  ],
  ['does not parse', 'function(doc) {\n  emit(1;\n}', 'compilation_error', /map function in the 'v' view.*line 2/s],
  ['is no function', '"emit(1)"', 'compilation_error', /not a function/],
  ['is empty', '', 'compilation_error', /'v'/],
];

describe('a function that misbehaves spoils its view and nothing else', () => {
  test.each(SPOILED)('one that %s', async (_what, map, error, reason) => {
    const database = pretendDatabase();
    for (const id of ['a', 'b', 'c']) database.put(id, id === 'b' ? { bad: true } : {});
    const { views, log } = await openTestViews(database);
    const both = design({ v: map, good: GOOD });
    const answer = { details: { couch: { status: 500, error, reason: expect.stringMatching(reason) } } };
    await expect(views.query('db', both, 'v', {})).rejects.toMatchObject(answer);
    expect((await views.query('db', both, 'good', {})).rows).toHaveLength(3);
    expect((await views.query('db', design({ v: GOOD }, '_design/other'), 'v', {})).rows).toHaveLength(3);
    await expect(views.query('db', both, 'v', {})).rejects.toMatchObject(answer);
    expect(log.lines.filter(({ level }) => level === 'warn')).toHaveLength(1);
  });
});

/** [what it does, map function]: the document 'b' is left out. */
const THROWING: ReadonlyArray<readonly [string, string]> = [
  ['throws', 'function(doc) { if (doc.bad) throw new Error("no") ; emit(1) }'],
  ['throws after a row', 'function(doc) { emit(1); if (doc.bad) throw "no" }'],
  ['throws nothing', 'function(doc) { if (doc.bad) throw null; emit(1) }'],
  ['throws what cannot be told', 'function(doc) { if (doc.bad) throw { get name() { throw 1 } }; emit(1) }'],
  ['names what is not there', 'function(doc) { if (doc.bad) doc.a.b.c; emit(1) }'],
  ['calls itself for ever', 'function(doc) { function f() { f() } if (doc.bad) f(); emit(1) }'],
  ['emits what has no JSON', 'function(doc) { if (doc.bad) { var a = {}; a.a = a; emit(a) } else emit(1) }'],
];

test.each(THROWING)('a document on which a function %s is left out, as in CouchDB', async (_what, map) => {
  const { rows } = await askOnce({ a: {}, b: { bad: true }, c: {} }, map);
  expect(rows.map(({ id }) => id)).toEqual(['a', 'c']);
});

test('a document that nests deep is left out of views, or comes through: nothing breaks', async () => {
  const database = pretendDatabase();
  database.put('a', {});
  database.putJson('deep', `{"_id":"deep","x":${'['.repeat(50_000)}${']'.repeat(50_000)}}`);
  database.put('z', {});
  const { views } = await openTestViews(database);
  const { rows } = (await views.query('db', design({ v: GOOD }), 'v', {})) as MapResult;
  expect(rows.map(({ id }) => id)).toEqual(['a', 'z']);
});

test('what throws is told in the log, but not for every document', async () => {
  const database = pretendDatabase();
  for (let n = 0; n < 500; n++) database.put(`d${n}`, {});
  const { views, log } = await openTestViews(database);
  await views.query('db', design({ v: 'function(doc) { missing.field }' }), 'v', {});
  const told = log.lines.filter(({ text }) => text.includes("'missing' is not defined"));
  expect(told).toHaveLength(10);
  expect(told[0]?.facts).toMatchObject({ database: 'db', design: '_design/test', document: 'd0' });
});

test('a spoiled view gets another chance when its document changes, and when its function does', async () => {
  const database = pretendDatabase();
  database.put('a', {});
  database.put('b', { bad: true });
  const { views } = await openTestViews(database);
  const loops = design({ v: 'function(doc) { if (doc.bad) for (;;) {} emit(doc._id) }' });
  await expect(views.query('db', loops, 'v', {})).rejects.toThrow(/longer/);
  database.put('c', {});
  await expect(views.query('db', loops, 'v', {})).rejects.toThrow(/longer/);
  database.put('b', {});
  expect((await views.query('db', loops, 'v', {})).rows).toHaveLength(3);
  database.put('b', { bad: true });
  await expect(views.query('db', loops, 'v', {})).rejects.toThrow(/longer/);
  expect((await views.query('db', design({ v: GOOD }), 'v', {})).rows).toHaveLength(3);
});

test('functions that change the language around them fool only themselves', async () => {
  const tamper = `function(doc) {
    JSON.stringify = function () { return 'x\\ny' }; Array.prototype.push = Object.keys = String.prototype.split = function () {};
    emit('k', 'v'); emit = null;
  }`;
  const { rows } = await askOnce({ a: {}, b: {} }, tamper);
  expect(rows).toEqual([{ id: 'a', key: 'k', value: 'v' }]);
});

test('what a function keeps from document to document does not bring it down', async () => {
  const documents = Object.fromEntries(Array.from({ length: 400 }, (_, n) => [`d${String(n).padStart(3, '0')}`, {}]));
  const leak =
    'function(doc) { globalThis.kept = globalThis.kept || []; kept.push("x".repeat(1e6) + doc._id); emit(1) }';
  expect((await askOnce(documents, leak)).rows).toHaveLength(400);
});

test('promises are never kept, and do not pile up', async () => {
  const documents = Object.fromEntries(Array.from({ length: 300 }, (_, n) => [`d${n}`, {}]));
  const later = 'function(doc) { Promise.resolve().then(function () { for (;;) {} }); emit(1) }';
  expect((await askOnce(documents, later)).rows).toHaveLength(300);
});

test('fifteen functions that fill their memory leave the server as small as it was', async () => {
  const database = pretendDatabase();
  database.put('a', {});
  const { views } = await openTestViews(database);
  const grow = async (n: number): Promise<void> => {
    const map = `function(doc) { var a = []; for (;;) a.push("x".repeat(1e6) + a.length + ${n}) }`;
    await expect(views.query('db', design({ v: map }, `_design/${n}`), 'v', {})).rejects.toThrow(/memory/);
  };
  for (let n = 0; n < 5; n++) await grow(n);
  const before = process.memoryUsage().rss;
  for (let n = 5; n < 15; n++) await grow(n);
  const grownMb = (process.memoryUsage().rss - before) / 1e6;
  console.log(`grown by ${Math.round(grownMb)} MB`);
  expect(grownMb).toBeLessThan(500);
});

test('a function that cannot be interrupted is left behind, and others are answered', { timeout: 60_000 }, async () => {
  const database = pretendDatabase();
  database.put('a', {});
  database.put('a', {}, 'other');
  const { views, log } = await openTestViews(database, { limits: { hungAfterMs: 2000 } });
  const hangs = design({ v: 'function(doc) { Array.prototype.indexOf.call({ length: 9e15 }, 1) }', good: GOOD });
  const first = views.query('db', hangs, 'v', {});
  const second = views.query('other', design({ v: GOOD }), 'v', {});
  await expect(first).rejects.toMatchObject({
    details: { couch: { status: 500, reason: expect.stringContaining('hung') } },
  });
  expect((await second).rows).toHaveLength(1);
  await expect(views.query('db', hangs, 'v', {})).rejects.toThrow(/hung/);
  expect((await views.query('db', design({ v: GOOD }), 'v', {})).rows).toHaveLength(1);
  await waitUntil('the log to say so', () => log.lines.some(({ level }) => level === 'error'));
});
