import { expect, test } from 'vitest';
import { parseDigest } from '../../../src/ground/base/digest.ts';

const good = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

test('a digest is 64 lower-case hexadecimal digits', () => expect(parseDigest(good)).toBe(good));

test.each([
  ['too short', good.slice(1)],
  ['too long', `${good}0`],
  ['in capitals', good.toUpperCase()],
  ['not hexadecimal', `g${good.slice(1)}`],
  ['with a space', ` ${good.slice(1)}`],
  ['with a line end', `${good}\n`],
  ['a path', `../${good.slice(3)}`],
  ['empty', ''],
])('what is %s is none', (_what, text) => {
  expect(() => parseDigest(text)).toThrow(expect.objectContaining({ code: 'bad-request' }));
});

test('a refusal does not repeat megabytes', () => {
  expect(() => parseDigest('x'.repeat(1e6))).toThrow(/^.{80,200}$/);
});
