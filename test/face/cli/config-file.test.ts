import { describe, expect, test } from 'vitest';
import { cli } from '../../support/cli-context.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const config = (text: string) => `${temporaryDirectory({ 'config.yaml': text })}/config.yaml`;

describe('a configuration file', () => {
  test('gives options that neither a flag nor a variable gives', async () => {
    const file = config(`
server: https://pilotage.example:9990
tokenFile: /secrets/token
worker:
  slots: 8
  zone: hall
  memory: 4GiB
  label: { cpu: zen4 }
  project: [water, ice]
  keepSandboxes: true
`);
    const env = { HOME: '/', PILOTAGE_CONFIG: file, PILOTAGE_WORKER_ZONE: 'attic' };
    expect((await cli(['worker', '--slots', '2'], { env })).started).toMatchObject([
      {
        server: 'https://pilotage.example:9990',
        tokenFile: '/secrets/token',
        slots: 2,
        zone: 'attic',
        memory: 4 * 1024 ** 3,
        labels: { cpu: 'zen4' },
        projects: ['water', 'ice'],
        keepSandboxes: true,
      },
    ]);
  });

  test('is found in the home directory', async () => {
    const home = temporaryDirectory({
      '.config/pilotage/config.yaml': 'serve: { workers: 3, listen: "127.0.0.1:99" }',
    });
    expect((await cli(['serve'], { env: { HOME: home } })).started).toMatchObject([
      { workers: 3, listen: { port: 99 } },
    ]);
  });

  test('a server that is named otherwise goes before the configured one', async () => {
    const env = {
      PILOTAGE_CONFIG: config('server: https://configured\ntokenFile: a'),
      PILOTAGE_SERVER: 'https://variable',
      PILOTAGE_TOKEN_FILE: 'b',
    };
    expect((await cli(['worker'], { env })).started).toMatchObject([
      { server: 'https://variable', tokenFile: '/nowhere/b' },
    ]);
    expect((await cli(['worker', '--server', 'https://flag', '--token-file', 'c'], { env })).started).toMatchObject([
      { server: 'https://flag' },
    ]);
  });

  test.each([
    ['sever: x', "config.yaml:1:1: unknown key 'sever': did you mean 'server'?"],
    ['serve:\n  worker: 3', "config.yaml:2:3: unknown option 'worker': did you mean 'workers'?"],
    ['serve:\n  workers: many', "config.yaml:2:12 value 'many' is invalid. It is a whole number"],
    ['serve: [', 'config.yaml:1:'],
    ['serve:\n  database: postgres://me:secret@db/x', 'can be read by everybody'],
  ])('%j is refused with its place', async (text, message) => {
    const result = await cli(['serve'], { env: { HOME: '/', PILOTAGE_CONFIG: config(text) } });
    expect(result).toMatchObject({ code: 2, started: [] });
    expect(result.stderr).toContain(message);
  });

  test('one that was named must be there', async () => {
    expect(await cli(['serve'], { env: { PILOTAGE_CONFIG: '/nowhere/config.yaml' } })).toMatchObject({
      code: 2,
      started: [],
    });
  });
});
