import { expect, test } from 'vitest';
import { isMailAddress } from '../../../src/ground/base/mail-address.ts';

test.each(['a@x.org', 'first.last+tag@sub.x.org', "o'neil@x.org", 'ü@x.org', 'root@localhost'])(
  '%j is an address',
  (text) => {
    expect(isMailAddress(text)).toBe(true);
  },
);

test.each([
  '',
  'a',
  '@x.org',
  'a@',
  'a@b@c',
  'a,b@x.org',
  'a@x.org,b',
  '<a@x.org>',
  'A B <a@x.org>',
  'a@x.org\nBcc: b@x.org',
  'a\0@x.org',
  `${'a'.repeat(256)}@x.org`,
])('%j is none, or could be read as several', (text) => {
  expect(isMailAddress(text)).toBe(false);
});
