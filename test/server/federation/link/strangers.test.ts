import { Duplex } from 'node:stream';
import { expect, test } from 'vitest';
import { createStrangers } from '../../../../src/server/federation/link/strangers.ts';

const from = (remoteAddress: string): Duplex =>
  Object.assign(new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() }), { remoteAddress });

test('a crowd from one address pushes out its own, the oldest first, and nobody else', () => {
  const strangers = createStrangers(4);
  const friend = from('friend');
  const crowd = Array.from({ length: 10 }, () => from('crowd'));
  strangers.enter(friend);
  for (const one of crowd) strangers.enter(one);
  expect(friend.destroyed).toBe(false);
  expect(crowd.map(({ destroyed }) => destroyed)).toEqual([...Array(7).fill(true), ...Array(3).fill(false)]);
});

test('who is known makes room; at the end all go', () => {
  const strangers = createStrangers(2);
  const some = ['a', 'b', 'c', 'd'].map(from);
  for (const one of some.slice(0, 3)) strangers.enter(one)();
  strangers.enter(some[3] as Duplex);
  expect(some.some(({ destroyed }) => destroyed)).toBe(false);
  strangers.close();
  expect(some.map(({ destroyed }) => destroyed)).toEqual([false, false, false, true]);
});
