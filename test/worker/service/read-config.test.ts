import { describe, expect, test } from 'vitest';
import { readServiceConfig } from '../../../src/worker/service/read-config.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const read = (text: string) => {
  const home = temporaryDirectory({ 'service.yaml': text });
  return { home, config: readServiceConfig(home) };
};

test('an empty file says enough', () => {
  const { home, config } = read('');
  expect(config).toMatchObject({
    module: `${home}/service.ts`,
    project: 'default',
    running: 5,
    concurrency: 1,
    archiveSeconds: null,
    expireSeconds: null,
    config: {},
  });
  expect(config.directories).toMatchObject({
    INCOMING: `${home}/incoming`,
    PREPROCESSING: `${home}/jobs`,
    FAILED: `${home}/jobs`,
  });
});

test('a state has the directory of the one before it', () => {
  const { home, config } = read('directories: {running: /shared, completed: done, archived: /archive}\n');
  expect(config.directories).toEqual({
    INCOMING: `${home}/incoming`,
    PREPROCESSING: `${home}/jobs`,
    RUNNING: '/shared',
    POSTPROCESSING: '/shared',
    FINALIZING: '/shared',
    COMPLETED: `${home}/done`,
    ARCHIVED: '/archive',
    FAILED: `${home}/done`,
    CANCELLED: `${home}/done`,
  });
});

test('times, limits and keys of its own', () => {
  const { config } = read(
    'retention: {archive: 4h, expire: 30d}\nlimits: {running: 10, hookTime: 30s}\nconfig: {database: /x}\n',
  );
  expect(config).toMatchObject({
    archiveSeconds: 14_400,
    expireSeconds: 2_592_000,
    running: 10,
    hookSeconds: 30,
    config: { database: '/x' },
  });
  expect(read('retention: {archive: 4h, expire: never}\n').config).toMatchObject({
    archiveSeconds: 14_400,
    expireSeconds: null,
  });
  expect(read('retention: {archive: 4h, expire: 4h}\n').config.expireSeconds).toBe(14_400);
});

describe('what is wrong is said', () => {
  test.each([
    ['retention: {archive: never, expire: 1d}', 'results expire before they are archived'],
    ['retention: {archive: 2d, expire: 1d}', 'results expire before they are archived'],
    ['retention: {archive: soon}', "'soon' is not a duration"],
    ['directories: {expired: x}', "there is no state with a directory 'expired'"],
    ['directories: {incoming: jobs}', "'incoming' needs a directory of its own"],
    ['limits: {running: 0}', "'limits.running' has to be a whole number from 1 on"],
    ['nonsense: 1', "there is no key 'nonsense'"],
    ['- a', 'the file has to be keys with values'],
    ['a: [', 'service.yaml'],
  ])('%s', (text, message) => {
    expect(() => read(text)).toThrow(message);
  });
});
