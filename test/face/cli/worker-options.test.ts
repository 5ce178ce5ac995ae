import path from 'node:path';
import { expect, test } from 'vitest';
import { cli } from '../../support/cli-context.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const SERVER = ['--server', 'http://127.0.0.1:1', '--token-file', '/nowhere/token'];

const started = async (argv: readonly string[], env: Record<string, string> = {}, config = '') => {
  const directory = temporaryDirectory({ 'config.yaml': config });
  const own = { env: { HOME: directory, PILOTAGE_CONFIG: path.join(directory, 'config.yaml'), ...env } };
  const ran = await cli(['worker', ...SERVER, ...argv], own);
  expect([ran.code, ran.stderr]).toEqual([0, '']);
  return ran.started[0];
};

test('a worker shares its cache as it is told, by flags', async () => {
  expect(await started(['--cache-size', '2GiB', '--zone', 'hall'])).toMatchObject({
    cacheBytes: 2 * 1024 ** 3,
    zone: 'hall',
    share: {},
  });
  expect(await started(['--share-listen', '0.0.0.0:9991', '--share-address', 'node7'])).toMatchObject({
    share: { listen: { host: '0.0.0.0', port: 9991 }, address: 'node7' },
  });
  expect(await started(['--no-share'])).toMatchObject({ share: false });
});

test.each([
  ['a variable', { PILOTAGE_WORKER_NO_SHARE: '1' }, '', false],
  ['a variable that is off', { PILOTAGE_WORKER_NO_SHARE: '0' }, '', {}],
  ['a file', {}, 'worker: { share: false }', false],
  ['a file that says the usual', {}, 'worker: { share: true }', {}],
])('sharing is switched by %s', async (_, env, config, share) => {
  expect(await started([], env as Record<string, string>, config)).toMatchObject({ share });
});
