import { expect, test } from 'vitest';
import {
  directoryMode,
  directoryPermissions,
  fileMode,
  filePermissions,
} from '../../../src/ground/content/permissions.ts';

test.each([
  [0o100644, {}, 0o644],
  [0o100755, { executable: true }, 0o755],
  [0o100600, { permissions: '600' }, 0o600],
  [0o100710, { executable: true, permissions: '710' }, 0o710],
  [0o100004, { permissions: '004' }, 0o004],
  [0o104755, { executable: true }, 0o755],
])('a file of mode %o travels as %j', (mode, travels, back) => {
  expect(filePermissions(mode)).toEqual(travels);
  expect(fileMode(filePermissions(mode))).toBe(back);
});

test.each([
  [0o40755, {}],
  [0o41777, { permissions: '777' }],
  [0o40500, { permissions: '500' }],
])('a directory of mode %o travels as %j', (mode, travels) => {
  expect(directoryPermissions(mode)).toEqual(travels);
  expect(directoryMode(directoryPermissions(mode))).toBe(mode & 0o777);
});
