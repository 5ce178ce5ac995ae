import { describe, expect, test } from 'vitest';
import { createGuard } from '../../../src/server/access/guard.ts';

const at = { now: 0 };
function guardAfter(failures: number, address = 'a') {
  at.now = 1000;
  const guard = createGuard(() => at.now);
  for (let i = 0; i < failures; i += 1) guard.failed(address);
  return guard;
}

describe('the guard against guessing', () => {
  test('says nothing before twenty failures in a minute', () => {
    expect(guardAfter(0).blockedFor('a')).toBe(0);
    expect(guardAfter(19).blockedFor('a')).toBe(0);
    expect(guardAfter(20).blockedFor('a')).toBe(60);
  });

  test('counts each address for itself', () => {
    expect(guardAfter(50).blockedFor('b')).toBe(0);
  });

  test('says how long it is still to wait, and forgets after the minute', () => {
    const guard = guardAfter(20);
    at.now += 59_001;
    expect(guard.blockedFor('a')).toBe(1);
    at.now += 999;
    expect(guard.blockedFor('a')).toBe(0);
    guard.failed('a');
    expect(guard.blockedFor('a')).toBe(0);
  });

  test('the minute begins with the first failure, and more of them do not make it longer', () => {
    const guard = guardAfter(20);
    at.now += 30_000;
    guard.failed('a');
    expect(guard.blockedFor('a')).toBe(30);
  });

  test('does not grow without end when every failure comes from another address', () => {
    const guard = guardAfter(20);
    for (let i = 0; i < 9999; i += 1) guard.failed(`address ${i}`);
    expect(guard.failures('a')).toBe(20);
    guard.failed('one more');
    expect([guard.failures('a'), guard.failures('address 0')]).toEqual([0, 1]);
  });

  test('remembers who goes on guessing, however many others fail meanwhile', () => {
    const guard = guardAfter(19);
    for (let i = 0; i < 30_000; i += 1) {
      guard.failed(`address ${i}`);
      if (i % 5000 === 0) guard.failed('a');
    }
    expect(guard.blockedFor('a')).toBe(60);
  });
});
