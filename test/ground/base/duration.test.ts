import { describe, expect, test } from 'vitest';
import { formatDuration, parseDuration } from '../../../src/ground/base/duration.ts';

describe('durations', () => {
  test.each([
    ['90s', 90],
    ['10m', 600],
    ['10min', 600],
    ['1h30m', 5400],
    ['1.5h', 5400],
    ['2d', 172_800],
    ['1w2d', 777_600],
    ['1y', 31_536_000],
    ['0.5d', 43_200],
    ['250ms', 0.25],
    ['1m500ms', 60.5],
    [' 90 ', 90],
    ['0', 0],
    ['0.5', 0.5],
    [12.5, 12.5],
  ])('%j are %d seconds', (text, seconds) => expect(parseDuration(text)).toBeCloseTo(seconds, 9));

  test.each(['', 's', '-5', '-1h', '5x', '1h 30m', '1h30', '1H', '1e3', 'Infinity', '5mm', '99999w', '90s\n5', '٣s'])(
    '%j is refused, and the message shows how to write it',
    (text) => {
      expect(() => parseDuration(text)).toThrow(
        expect.objectContaining({ code: 'bad-request', message: expect.stringContaining("'1h30m'") }),
      );
    },
  );

  test.each([Number.NaN, Number.POSITIVE_INFINITY, -1, 1e12])('the number %d is refused', (seconds) => {
    expect(() => parseDuration(seconds)).toThrow('is not a duration');
  });

  test.each([
    [0, '0ms'],
    [0.8499, '850ms'],
    [1, '1s'],
    [12.34, '12.3s'],
    [59.94, '59.9s'],
    [59.96, '1m00s'],
    [60, '1m00s'],
    [245, '4m05s'],
    [3599.6, '1h00m'],
    [7800, '2h10m'],
    [86_399, '23h59m'],
    [86_400, '1d00h'],
    [273_600, '3d04h'],
  ])('%d seconds are written %j', (seconds, text) => expect(formatDuration(seconds)).toBe(text));

  test.each(['1s', '4m05s', '2h10m', '3d04h'])('%j is read as it is written', (text) => {
    expect(formatDuration(parseDuration(text))).toBe(text);
  });
});
