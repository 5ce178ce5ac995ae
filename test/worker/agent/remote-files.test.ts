import { describe, expect, test } from 'vitest';
import { chooseOutputs, parseListing, parseSums } from '../../../src/worker/agent/remote-files.ts';

const listed = (directories: string[], files: string[]): string =>
  `.\0${directories.map((name) => `./${name}\0`).join('')}\0${files.map((name) => `./${name}\0`).join('')}`;

describe('outputs on a machine', () => {
  const listing = parseListing(
    listed(['plots', 'plots/deep', 'empty'], ['a.txt', 'plots/1.svg', 'plots/deep/2.svg', 'new\nline']),
  );

  test('are listed whatever their names', () => {
    expect(listing.files).toEqual(['a.txt', 'plots/1.svg', 'plots/deep/2.svg', 'new\nline']);
    expect([...listing.directories]).toEqual(['plots', 'plots/deep', 'empty']);
    expect(parseListing(listed([], [])).files).toEqual([]);
  });

  test.each([
    ['a.txt', ['a.txt']],
    ['plots', ['plots']],
    ['plots/*.svg', ['plots/1.svg']],
    ['**/*.svg', ['plots/1.svg', 'plots/deep/2.svg']],
    ['*', ['a.txt', 'empty', 'new\nline', 'plots']],
  ])('%s means %j', (pattern, names) => expect(chooseOutputs(listing, [{ pattern }]).names).toEqual(names));

  test('of a directory all is packed', () => {
    const { paths, files } = chooseOutputs(listing, [{ pattern: 'plots' }]);
    expect(paths).toEqual(['plots', 'plots/deep', 'plots/1.svg', 'plots/deep/2.svg']);
    expect(files).toEqual(['plots/1.svg', 'plots/deep/2.svg']);
  });

  test('that are missing fail the job, and it says what is there; optional ones do not', () => {
    const fault = chooseOutputs(listing, [{ pattern: 'a.txt' }, { pattern: 'b.txt' }]).fault;
    expect(fault).toMatchObject({ reason: 'missing-output', message: expect.stringContaining("left no 'b.txt'") });
    expect(fault?.message).toContain('plots/');
    expect(chooseOutputs(listing, [{ pattern: 'b.txt', optional: true }]).fault).toBeUndefined();
  });
});

test('sums are read, and lines that are none left out', () => {
  const digest = 'a'.repeat(64);
  expect([...parseSums(`${digest}  ./x y\n${digest} *z\n\\${digest}  ./odd\\nname\nnoise\n`)]).toEqual([
    ['x y', digest],
    ['z', digest],
  ]);
});
