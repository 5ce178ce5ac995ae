import { describe, expect, test } from 'vitest';
import { countOf, parseArrayRange } from '../../../src/ground/protocol/array-range.ts';

describe('a range of an array', () => {
  test.each([
    ['1-100', { first: 1, last: 100 }, 100],
    ['0-90:10', { first: 0, last: 90, step: 10 }, 10],
    ['0-95:10', { first: 0, last: 95, step: 10 }, 10],
    ['5', { first: 5, last: 5 }, 1],
    ['1,2,3', { first: 1, last: 3 }, 3],
    ['9, 1, 5', { first: 1, last: 9, step: 4 }, 3],
    ['1-10000000', { first: 1, last: 10_000_000 }, 10_000_000],
  ])('%s', (text, range, count) => {
    expect(parseArrayRange(text)).toEqual(range);
    expect(countOf(range)).toBe(count);
  });

  test.each([
    ['', 'is not a range'],
    ['a-b', 'is not a range'],
    ['-3', 'is not a range'],
    ['3-1', 'ends before it begins'],
    ['1-9:0', 'never moves on'],
    ['1,2,4', 'does not count in equal steps'],
    ['1-3,7-9', 'does not count in equal steps'],
    ['2,2,2', 'does not count in equal steps'],
    ['1-10000001', 'makes 10,000,001 tasks'],
    ['1-99999999999', 'counts too far'],
  ])('%j is refused: %s', (text, message) => {
    expect(() => parseArrayRange(text)).toThrow(message);
  });
});
