import { describe, expect, test } from 'vitest';
import { formatTaskId, parseTarget, parseTaskId } from '../../../src/ground/base/task-id.ts';

describe('ids of tasks', () => {
  test.each([
    ['12', { submission: 12 }],
    ['12.3', { submission: 12, index: 3 }],
    ['12.0', { submission: 12, index: 0 }],
    [' 7.1 ', { submission: 7, index: 1 }],
    ['999999999999999.999999999999999', { submission: 999_999_999_999_999, index: 999_999_999_999_999 }],
  ])('%j names what it says', (text, target) => expect(parseTarget(text)).toEqual(target));

  test.each([
    '',
    '0',
    '0.1',
    '-1',
    '012',
    '12.',
    '.3',
    '12.03',
    '12.3.4',
    '1e3',
    '12.x',
    'w3',
    '12 .3',
    '9'.repeat(16),
  ])('%j names no task', (text) => {
    expect(() => parseTarget(text)).toThrow(
      expect.objectContaining({ code: 'bad-request', message: expect.stringContaining('names no task') }),
    );
  });

  test('a submission is not a task, and the message says how to name one', () => {
    expect(() => parseTaskId('12')).toThrow("name one task of it, as in '12.1'");
  });

  test('what is written is read back', () => {
    expect(parseTaskId(formatTaskId(12, 3))).toEqual({ submission: 12, index: 3 });
  });
});
