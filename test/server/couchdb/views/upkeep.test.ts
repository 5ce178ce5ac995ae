import { execFile } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Changes, MapResult } from '../../../../src/server/couchdb/views/views.ts';
import { temporaryDirectory } from '../../../support/temporary-directory.ts';
import { waitUntil } from '../../../support/wait-until.ts';
import { numbered } from './numbered-documents.ts';
import { design, MONITOR, openTestViews, pretendDatabase, token } from './pretend-database.ts';

const BY_ID = design({ v: 'function(doc) { emit(doc._id, doc.n) }' });

describe('an index follows its database', () => {
  test('a query sees what was committed before it came, also while another is being answered', async () => {
    const database = pretendDatabase(1);
    const held: Array<() => void> = [];
    let holding = false;
    const { views } = await openTestViews({
      readChanges: async (name, after): Promise<Changes> => {
        const page = await database.readChanges(name, after);
        if (holding) await new Promise<void>((resolve) => held.push(resolve));
        return page;
      },
    });
    holding = true;
    const early = views.query('db', BY_ID, 'v', {});
    await waitUntil('the first page to be asked for', () => held.length === 1);
    database.put('late', { n: 1 });
    const late = views.query('db', BY_ID, 'v', {});
    holding = false;
    held[0]?.();
    expect((await early).rows).toHaveLength(0);
    expect((await late).rows).toHaveLength(1);
  });

  test('queries that come together share the reading', async () => {
    const database = pretendDatabase();
    for (let n = 0; n < 3000; n++) database.put(`d${n}`, { n });
    const { views } = await openTestViews(database);
    const answers = await Promise.all(Array.from({ length: 50 }, () => views.query('db', BY_ID, 'v', { limit: 1 })));
    expect(answers.every((answer) => (answer as MapResult).totalRows === 3000)).toBe(true);
    expect(database.pages.count).toBeLessThan(10);
  });

  test('update=false answers from what is there', async () => {
    const database = pretendDatabase();
    database.put('a', { n: 1 });
    const { views } = await openTestViews(database);
    expect((await views.query('db', BY_ID, 'v', { update: false })).rows).toHaveLength(0);
    const { position } = await views.query('db', BY_ID, 'v', {});
    expect(position).toBe('1');
    database.put('b', { n: 1 });
    expect(await views.query('db', BY_ID, 'v', { update: false })).toMatchObject({ totalRows: 1, position: '1' });
  });

  test('a change that comes twice counts once', async () => {
    const json = '{"_id":"a","_rev":"1-a","n":1}';
    const { views } = await openTestViews({
      readChanges: (_name, after) =>
        Promise.resolve({
          changes: [{ id: 'a', json }],
          position: String(Math.min(3, Number(after || 0) + 1)),
          more: Number(after || 0) < 3,
        }),
    });
    expect(await views.query('db', BY_ID, 'v', {})).toMatchObject({
      totalRows: 1,
      rows: [{ id: 'a', key: 'a', value: 1 }],
    });
  });

  test('a page that cannot be read fails the queries that wait, and the next one tries again', async () => {
    const database = pretendDatabase();
    database.put('a', { n: 1 });
    let broken = true;
    const { views } = await openTestViews({
      readChanges: (name, after) => (broken ? Promise.reject(new Error('no disk')) : database.readChanges(name, after)),
    });
    await expect(views.query('db', BY_ID, 'v', {})).rejects.toThrow(/no disk/);
    broken = false;
    expect((await views.query('db', BY_ID, 'v', {})).rows).toHaveLength(1);
  });

  test('a query of another database gets its turn while a large one is built', async () => {
    const database = pretendDatabase();
    for (let n = 0; n < 20_000; n++) database.put(`d${n}`, token());
    database.put('a', {}, 'small');
    const { views } = await openTestViews(database);
    await views.query('small', BY_ID, 'v', {});
    let built = false;
    const large = views.query('db', MONITOR, 'todo', { limit: 1 }).then(() => {
      built = true;
    });
    const began = performance.now();
    await views.query('small', BY_ID, 'v', {});
    expect(built).toBe(false);
    expect(performance.now() - began).toBeLessThan(1000);
    await large;
  });

  test('one who goes away does not wait', async () => {
    const { views } = await openTestViews({ readChanges: () => new Promise<Changes>(() => undefined) });
    const signal = AbortSignal.timeout(50);
    await expect(views.query('db', BY_ID, 'v', {}, signal)).rejects.toThrow(/timeout/);
  });

  test('names of databases that are no names of files are as good as others', async () => {
    const database = pretendDatabase();
    const names = ['a/b', '../../x', 'a b', '$(id)', "'", 'ü', 'x'.repeat(300)];
    for (const [n, name] of names.entries()) database.put('a', { n }, name);
    const { views, directory } = await openTestViews(database);
    for (const [n, name] of names.entries())
      expect((await views.query(name, BY_ID, 'v', {})).rows).toEqual([{ id: 'a', key: 'a', value: n }]);
    expect(readdirSync(directory).filter((file) => !/^[0-9a-f]{40}\.views(-wal|-shm)?$/.test(file))).toEqual([]);
  });
});

describe('an index outlives the server', () => {
  test('after a restart it goes on where it was', async () => {
    const database = pretendDatabase(10);
    for (let n = 0; n < 500; n++) database.put(`d${n}`, { n });
    const { views, directory } = await openTestViews(database);
    expect(await views.query('db', BY_ID, 'v', { limit: 0 })).toMatchObject({ totalRows: 500 });
    await views.close();
    database.pages.count = 0;
    database.put('d7', { n: 'new' });
    const again = await openTestViews(database, { directory });
    expect(await again.views.query('db', BY_ID, 'v', { key: 'd7' })).toMatchObject({
      totalRows: 500,
      rows: [{ value: 'new' }],
    });
    expect(database.pages.count).toBe(1);
  });

  test('other functions make another index, and the old rows go', async () => {
    const database = pretendDatabase(10);
    for (let n = 0; n < 50; n++) database.put(`d${n}`, { n });
    const { views } = await openTestViews(database);
    await views.query('db', BY_ID, 'v', {});
    const other = design({ v: 'function(doc) { if (doc.n < 10) emit(doc.n) }' });
    expect(await views.query('db', other, 'v', { limit: 1 })).toMatchObject({ totalRows: 10 });
    expect(await views.query('db', BY_ID, 'v', { limit: 1 })).toMatchObject({ totalRows: 50 });
  });

  test('other functions in the middle of a build get an index that the earlier ones write nothing into', async () => {
    const database = pretendDatabase(10);
    for (let n = 0; n < 200; n++) database.put(`d${n}`, { n });
    const held: Array<() => void> = [];
    let holding = false;
    const { views } = await openTestViews({
      readChanges: async (name, after): Promise<Changes> => {
        const page = await database.readChanges(name, after);
        if (holding) await new Promise<void>((resolve) => held.push(resolve));
        return page;
      },
    });
    holding = true;
    const earlier = views.query('db', design({ v: 'function(doc) { emit("earlier") }' }), 'v', {});
    const refused = expect(earlier).rejects.toMatchObject({ code: 'wrong-state', message: /was changed/ });
    await waitUntil('the first page to be asked for', () => held.length === 1);
    const LATER = design({ v: 'function(doc) { emit("later") }' });
    const later = views.query('db', LATER, 'v', {});
    await waitUntil('the other index to ask', () => held.length === 2);
    holding = false;
    for (const letGo of held.splice(0)) letGo();
    await refused;
    for (const answer of [await later, await views.query('db', LATER, 'v', {})]) {
      const { rows } = answer as MapResult;
      expect([rows.length, rows.every((row) => row.key === 'later')]).toEqual([200, true]);
    }
  });

  test('a spoiled view stays spoiled without running its function again', async () => {
    const database = pretendDatabase();
    database.put('a', {});
    const loops = design({ v: 'function(doc) { for (;;) {} }' });
    const { views, directory } = await openTestViews(database);
    await expect(views.query('db', loops, 'v', {})).rejects.toThrow(/longer/);
    await views.close();
    const again = await openTestViews(database, { directory });
    await expect(again.views.query('db', loops, 'v', {})).rejects.toThrow(/longer/);
    expect(again.log.lines).toEqual([]);
  });

  test.each([
    ['rubbish', (file: string) => writeFileSync(file, 'rubbish'.repeat(10_000))],
    ['cut short', (file: string) => writeFileSync(file, readFileSync(file).subarray(0, 9000))],
    ['damaged inside', (file: string) => writeFileSync(file, readFileSync(file).fill(0x5a, 4096, 40_000))],
    ['empty', (file: string) => writeFileSync(file, '')],
  ])('a file that is %s is built again', async (what, damage) => {
    const database = pretendDatabase();
    for (let n = 0; n < 2000; n++) database.put(`d${n}`, { n });
    const { views, directory } = await openTestViews(database);
    await views.query('db', BY_ID, 'v', { limit: 0 });
    await views.close();
    const file = readdirSync(directory).find((name) => name.endsWith('.views')) ?? '';
    damage(join(directory, file));
    const again = await openTestViews(database, { directory });
    database.put('new', { n: 1 });
    expect(await again.views.query('db', BY_ID, 'v', { limit: 0 })).toMatchObject({ totalRows: 2001 });
    expect(again.log.lines.filter(({ text }) => text.includes('built again'))).toHaveLength(what === 'empty' ? 0 : 1);
  });

  test('forget drops what is kept, also in the middle of a build', async () => {
    const database = pretendDatabase(100);
    for (let n = 0; n < 5000; n++) database.put(`d${n}`, { n });
    const { views, directory } = await openTestViews(database);
    await views.query('db', BY_ID, 'v', { limit: 1 });
    const building = views.query('db', MONITOR, 'todo', {});
    await views.forget('db');
    await expect(building).rejects.toMatchObject({ code: 'wrong-state' });
    expect(readdirSync(directory)).toEqual([]);
    expect(await views.query('db', BY_ID, 'v', { limit: 1 })).toMatchObject({ totalRows: 5000 });
  });

  test('closing in the middle of a build loses nothing that was built', async () => {
    const database = pretendDatabase(100);
    for (let n = 0; n < 20_000; n++) database.put(`d${n}`, { n });
    const { views, directory } = await openTestViews(database);
    const building = views.query('db', BY_ID, 'v', { limit: 0 });
    await waitUntil('some pages to be read', () => database.pages.count > 5);
    await views.close();
    await expect(building).rejects.toMatchObject({ code: 'shutting-down' });
    const again = await openTestViews(database, { directory });
    expect(await again.views.query('db', BY_ID, 'v', { limit: 0 })).toMatchObject({ totalRows: 20_000 });
  });
});

test('kill -9 in the middle of a build leaves rows and position that belong together', async () => {
  const directory = temporaryDirectory();
  for (let round = 0; round < 4; round++) {
    await runAndKill(directory, 300 + 150 * round);
    const { views, log } = await openTestViews({ readChanges: numbered }, { directory });
    const { rows, position } = await views.query('db', BY_ID, 'v', { update: false });
    expect(new Set((rows as MapResult['rows']).map(({ id }) => id))).toEqual(expectedAt(Number(position || 0)));
    expect(log.lines).toEqual([]);
    await views.close();
  }
  const { views } = await openTestViews({ readChanges: numbered }, { directory });
  expect(await views.query('db', BY_ID, 'v', { limit: 0 })).toMatchObject({ totalRows: 30_000 });
});

function expectedAt(position: number): Set<string> {
  return new Set(Array.from({ length: position }, (_, n) => `d${n}`));
}

/** Builds in a process of its own, which is killed some time after it said that it begins. */
async function runAndKill(directory: string, afterMs: number): Promise<void> {
  const child = execFile(process.execPath, [join(import.meta.dirname, 'build-to-be-killed.ts'), directory]);
  const gone = Promise.withResolvers<void>();
  child.on('exit', () => gone.resolve());
  child.stdout?.once('data', () => setTimeout(() => child.kill('SIGKILL'), afterMs));
  await gone.promise;
}
