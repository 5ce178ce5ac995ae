import { expect, test } from 'vitest';
import { namesThatFit } from '../../../src/server/pool/names-that-fit.ts';

const NAMES = ['a.txt', 'b.txt', 'd/c.txt', '.hidden', '[x]'];

test.each([
  ['*.txt', ['a.txt', 'b.txt']],
  ['**/*.txt', ['a.txt', 'b.txt', 'd/c.txt']],
  ['d/c.txt', ['d/c.txt']],
  ['.*', ['.hidden']],
  ['[x]', ['[x]']],
  ['none', []],
])('%s fits what it says', (pattern, fitting) => expect([...namesThatFit(pattern, NAMES)]).toEqual(fitting));

test.each(['+([a-z]|[a-z])b', '*a*a*a*a*a*a*a*a*a*a*a*a*a*ab'])('%s does not hold up the server', (pattern) => {
  const begun = performance.now();
  expect(() => namesThatFit(pattern, ['a'.repeat(60)])).toThrow(/takes too long.*simpler/);
  expect(performance.now() - begun).toBeLessThan(2000);
});

test('a pattern that leads outside is refused', () => {
  expect(() => namesThatFit('../*', NAMES)).toThrow("'..'");
});
