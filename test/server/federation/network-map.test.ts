import { expect, test } from 'vitest';
import type { MapEntry } from '../../../src/ground/protocol/peer.ts';
import { createNetworkMap } from '../../../src/server/federation/network-map.ts';

const HOUR = 3_600_000;
const entry = (id: string, stamp: number, neighbours: string[] = []): MapEntry => ({
  id,
  name: id.toUpperCase(),
  stamp,
  places: [],
  neighbours,
});
const mapAt = (start = 1_000_000) => {
  let now = start;
  const pass = (ms: number): void => {
    now += ms;
  };
  return { map: createNetworkMap('self', () => now), pass };
};
const own = (neighbours: string[] = [], name = 'me') => ({ name, places: [], neighbours });

test('what it tells of itself is new when it changed, in whatever order, and anew now and then', () => {
  const { map, pass } = mapAt();
  expect(map.tell(own(['b', 'a']))).toBe(true);
  expect(map.tell(own(['a', 'b']))).toBe(false);
  expect(map.tell(own(['a', 'b'], 'renamed'))).toBe(true);
  const [before] = map.all();
  pass(HOUR);
  expect(map.tell(own(['a', 'b'], 'renamed'))).toBe(true);
  expect(map.all()[0]?.stamp).toBeGreaterThan(before?.stamp ?? 0);
});

test('the newest word counts, and one that is known already is no news', () => {
  const { map } = mapAt();
  expect(map.merge([entry('a', 5)])).toBe(true);
  expect(map.merge([entry('a', 5)])).toBe(false);
  expect(map.merge([entry('a', 4, ['x'])])).toBe(false);
  expect(map.merge([entry('a', 6, ['x'])])).toBe(true);
  expect(map.find('a')?.neighbours).toEqual(['x']);
});

test('what others remember of it from before does not outlive what it says now', () => {
  const { map } = mapAt();
  map.tell(own(['a']));
  expect(map.merge([entry('self', 9_000_000, ['gone'])])).toBe(false);
  expect(map.find('self')).toMatchObject({ stamp: 9_000_001, neighbours: ['a'] });
});

test('what nobody repeats is forgotten, also a word of a time that is yet to come', () => {
  const { map, pass } = mapAt();
  map.merge([entry('a', Number.MAX_SAFE_INTEGER, ['lie'])]);
  expect(map.merge([entry('a', 10, ['truth'])])).toBe(false);
  pass(HOUR);
  expect(map.all().map(({ id }) => id)).toEqual(['self']);
  // The lie itself, still passed round, is not new.
  expect(map.merge([entry('a', Number.MAX_SAFE_INTEGER, ['lie'])])).toBe(false);
  expect(map.merge([entry('a', 10, ['truth'])])).toBe(true);
  expect(map.find('a')?.neighbours).toEqual(['truth']);
});

test('names that somebody made up keep out nobody for longer than they are believed', () => {
  const { map, pass } = mapAt();
  map.merge(Array.from({ length: 600 }, (_, i) => entry(`made-up-${i}`, 1)));
  expect(map.all().length).toBe(501);
  expect(map.merge([entry('real', 1)])).toBe(false);
  pass(HOUR);
  expect(map.merge([entry('real', 1)])).toBe(true);
  expect(map.all().map(({ id }) => id)).toEqual(['self', 'real']);
});

test('the way to a server is the shortest, never back, and none where there is none', () => {
  const { map } = mapAt();
  map.merge([
    entry('a', 1, ['self', 'c']),
    entry('b', 1, ['self', 'c', 'd']),
    entry('c', 1, ['a', 'b', 'd']),
    entry('d', 1, ['b', 'c']),
  ]);
  expect(map.nextHop('d', ['a', 'b'], [])).toBe('b');
  expect(map.nextHop('d', ['a'], [])).toBe('a');
  expect(map.nextHop('d', ['a', 'b'], ['b'])).toBe('a');
  expect(map.nextHop('a', ['a', 'b'], [])).toBe('a');
  expect(map.nextHop('nobody', ['a', 'b'], [])).toBeUndefined();
  expect(map.nextHop('d', [], [])).toBeUndefined();
  expect(map.nextHop('d', ['a'], ['c'])).toBeUndefined();
});
