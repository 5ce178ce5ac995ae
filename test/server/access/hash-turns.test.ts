import { expect, test } from 'vitest';
import { createHashTurns } from '../../../src/server/access/hash-turns.ts';

/** Something that is begun by the turns, and ended by the test. */
function work(began: string[], name: string) {
  const { promise, resolve } = Promise.withResolvers<void>();
  const act = () => {
    began.push(name);
    return promise;
  };
  return { act, end: () => resolve() };
}

const from = (network: string, isTrusted = false) => ({ network, isTrusted });

test('few are hashed at once; networks take turns, and those of trusted places go first', async () => {
  const turns = createHashTurns({ atOnce: 1 });
  const began: string[] = [];
  const names = ['a1', 'a2', 'a3', 'b1', 'T1'];
  const works = names.map((name) => work(began, name));
  const done = works.map(({ act }, i) => turns.take(from(names[i]?.[0] ?? '', names[i] === 'T1'), act));
  expect(began).toEqual(['a1']);
  for (const { end } of works) end();
  await Promise.all(done);
  expect(began).toEqual(['a1', 'T1', 'a2', 'b1', 'a3']);
  // All places are free again.
  await turns.take(from('a'), async () => began.push('again'));
  expect(began.at(-1)).toBe('again');
});

test('the line has an end for each network, and one for all but trusted places', async () => {
  const turns = createHashTurns({ atOnce: 1, mostOfNetwork: 2, most: 3 });
  const first = work([], 'first');
  const begun = turns.take(from('a'), first.act);
  const codes: string[] = [];
  const one = (network: string, isTrusted = false) =>
    turns
      .take(from(network, isTrusted), async () => 'done')
      .then(
        (text) => codes.push(`${network} ${text}`),
        (error: { code: string }) => codes.push(`${network} ${error.code}`),
      );
  const all = [one('a'), one('a'), one('a'), one('b'), one('c'), one('home', true)];
  await Promise.all([all[2], all[4]]);
  expect(codes).toEqual(['a busy', 'c busy']);
  first.end();
  await Promise.all([begun, ...all]);
  expect(codes.slice(2)).toEqual(['home done', 'a done', 'b done', 'a done']);
});

test('one that fails gives its place back', async () => {
  const turns = createHashTurns({ atOnce: 1 });
  const failing = turns.take(from('a'), () => Promise.reject(new Error('no')));
  const next = turns.take(from('a'), async () => 'done');
  await expect(failing).rejects.toThrow('no');
  expect(await next).toBe('done');
});
