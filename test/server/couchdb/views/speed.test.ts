import { expect, test } from 'vitest';
import type { MapResult } from '../../../../src/server/couchdb/views/views.ts';
import { MONITOR, openTestViews, pretendDatabase, token } from './pretend-database.ts';

const TOKENS = 100_000;

test('the first hundred of 100,000 tokens are read in a few milliseconds, also after a change', {
  timeout: 120_000,
}, async () => {
  const database = pretendDatabase();
  for (let n = 0; n < TOKENS; n++) database.put(`token_${n}`, token({ input: `-q ${n}` }));
  const { views } = await openTestViews(database);
  const todo = async (): Promise<number> => {
    const { rows } = (await views.query('db', MONITOR, 'todo', { limit: 100 })) as MapResult;
    return rows.length;
  };
  const build = await timed(todo);
  const quiet = await medianOf(20, todo);
  const claim = (n: number): void => database.put(`token_${n}`, token({ lock: 1, hostname: 'vm' }));
  const changed = await medianOf(100, async (n) => {
    claim(n * 7);
    return todo();
  });
  const overview = (): Promise<unknown> => views.query('db', MONITOR, 'overview_total', { group: true });
  const first = await timed(overview);
  const repeated = await medianOf(10, overview);
  claim(99_999);
  const afterChange = await timed(overview);
  const middle = await medianOf(10, () => views.query('db', MONITOR, 'todo', { limit: 100, startKey: 'token_5' }));
  const whole = await timed(() => views.query('db', MONITOR, 'todo', {}));
  const found = await timed(() => views.find('db', { selector: { lock: { $gt: 0 } }, limit: 1000 }));
  const again = await timed(() => views.find('db', { selector: { lock: { $gt: 0 } }, limit: 1000 }));
  console.log(
    `${TOKENS} tokens, five views: built in ${build} ms; limit=100 ${quiet} ms, after a change ${changed} ms, with startkey ${middle} ms; ` +
      `overview_total?group=true first ${first} ms, repeated ${repeated} ms, after a change ${afterChange} ms; all rows ${whole} ms; ` +
      `_find first ${found} ms, again ${again} ms`,
  );
  expect(quiet).toBeLessThan(60);
  expect(changed).toBeLessThan(60);
});

async function timed(run: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await run();
  return Math.round((performance.now() - began) * 10) / 10;
}

async function medianOf(times: number, run: (n: number) => Promise<unknown>): Promise<number> {
  const taken: number[] = [];
  for (let n = 0; n < times; n++) taken.push(await timed(() => run(n)));
  return taken.sort((a, b) => a - b)[Math.floor(times / 2)] ?? Number.NaN;
}
