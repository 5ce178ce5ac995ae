import { describe, expect, test } from 'vitest';
import { formatSize, parseSize } from '../../../src/ground/base/size.ts';

describe('sizes', () => {
  test.each([
    ['0', 0],
    ['812', 812],
    ['812B', 812],
    ['1k', 1000],
    ['500MB', 500e6],
    ['2GiB', 2 * 1024 ** 3],
    ['2gib', 2 * 1024 ** 3],
    ['2Gi', 2 * 1024 ** 3],
    ['1.5 GiB', 1.5 * 1024 ** 3],
    [' 3T ', 3e12],
    ['0.1KiB', 102],
    [4096, 4096],
  ])('%j are %d bytes', (text, bytes) => expect(parseSize(text)).toBe(bytes));

  test.each([
    '',
    'GiB',
    '-1',
    '1PB',
    '1 G B',
    '1e3',
    '1,5GB',
    '99999999TiB',
    'constructor',
    '1constructor',
    Number.NaN,
    -5,
  ])('%j is refused, and the message shows how to write it', (text) => {
    expect(() => parseSize(text)).toThrow(
      expect.objectContaining({ code: 'bad-request', message: expect.stringContaining("'2GiB'") }),
    );
  });

  test.each([
    [0, '0 B'],
    [812, '812 B'],
    [1023, '1023 B'],
    [1024, '1 KiB'],
    [1536, '1.5 KiB'],
    [1024 ** 3, '1 GiB'],
    [5 * 1024 ** 5, '5120 TiB'],
  ])('%d bytes are written %j', (bytes, text) => expect(formatSize(bytes)).toBe(text));
});
