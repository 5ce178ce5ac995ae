import { describe, expect, test } from 'vitest';
import { isDeeperThan } from '../../../src/ground/base/json-depth.ts';

const nested = (depth: number): unknown => JSON.parse(`${'['.repeat(depth)}${']'.repeat(depth)}`);

describe('the depth of a value', () => {
  test.each([
    ['a number', 1, 0],
    ['null', null, 0],
    ['an empty list', [], 1],
    ['a flat object', { a: 1, b: 'x' }, 1],
    ['a list in an object', { a: 1, b: [1] }, 2],
    ['the deepest branch, not the first', { a: 1, b: { c: [{}] }, d: [] }, 4],
    ['sixty-four lists', nested(64), 64],
  ])('%s', (_what, value, depth) => {
    expect(isDeeperThan(value, depth)).toBe(false);
    if (depth > 0) expect(isDeeperThan(value, depth - 1)).toBe(true);
  });

  test('a value deep enough to exhaust the stack is judged all the same', () => {
    let value: unknown = {};
    for (let i = 0; i < 200_000; i += 1) value = { value };
    expect(isDeeperThan(value, 64)).toBe(true);
    expect(isDeeperThan(value, 1_000_000)).toBe(false);
  });
});
