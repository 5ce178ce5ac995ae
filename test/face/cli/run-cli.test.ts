import { writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { cli } from '../../support/cli-context.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

describe('wrong usage ends with 2 and one line', () => {
  test.each([
    [['stauts'], "unknown command 'stauts': did you mean 'status'?"],
    [['submit', '--arry', '1-3', '--', 'x'], "unknown option '--arry': did you mean '--array'?"],
    [['submit'], 'what is to be run?'],
    [['submit', '--'], "the command behind '--' is missing"],
    [['submit', 'job.yaml', '--', 'x'], 'give one of them'],
    [['submit', 'nothing.yaml'], "the job file 'nothing.yaml' is not there"],
    [['submit', 'echo', 'hi'], "written behind '--': pilotage submit -- COMMAND"],
    [['submit', '--cpus', 'two', '--', 'x'], "'--cpus <n>' argument 'two' is invalid. It is a whole number, 0 or more"],
    [['submit', '--memory', 'much', '--', 'x'], "'much' is not a size"],
    [['submit', '--time-limit', 'long', '--', 'x'], "'long' is not a duration"],
    [['submit', '--array', '3-1', '--', 'x'], 'ends before it begins'],
    [['submit', '--array', '1-3', '--each-line', 'f', '--', 'x'], 'give one of them'],
    [['submit', '--env', 'A', '--', 'x'], 'Write NAME=VALUE'],
    [['submit', '--after', 'twelve', '--', 'x'], "'twelve' names no task"],
    [['submit', '--', 'x', '{y}'], "'{y}' in the command has no value in task 1"],
    [['submit', '--each-line', '/nowhere/list', '--', 'x'], 'is not there'],
    [['submit', '--input', 'nothing.dat', '--', 'x'], "an input is not there: 'nothing.dat'"],
    [['why'], "missing required argument 'id'"],
    [['results', '1'], "required option '--to <dir>' not specified"],
    [['cancel'], 'which tasks?'],
    [['cancel', '--all', '1'], 'not both'],
    [['retry'], 'which tasks?'],
    [['workers', 'stop'], 'which workers?'],
    [['tasks', '--state', 'todo'], 'Allowed choices are waiting, queued'],
    [['token', 'create', '--name', 'a', '--scope', 'everything', '--to', '-'], "there is no scope 'everything'"],
    [['token', 'revoke', 'x'], 'It is a whole number, 1 or more'],
    [['peer', 'conect', 'somewhere', '3'], "'peer' has no command 'conect': did you mean 'connect'?"],
    [['user', 'addd', 'x'], "'user' has no command 'addd': did you mean 'add'?"],
    [['user', 'list', 'x'], "too many arguments for 'list'"],
    [['peer', 'connect', 'somewhere:1', '2'], 'give it once'],
    [['peer', 'lend', 'x', '--send-nothing', '--send', 'p'], 'contradict each other'],
    [['peer', 'lend', 'x', '--hours', '20:00-20:00'], 'leave --hours out'],
  ])('%j: %s', async (argv, message) => {
    const result = await cli(argv);
    expect(result).toMatchObject({ code: 2, stdout: '' });
    expect(result.stderr).toContain(message);
    expect(result.stderr).toMatch(/^pilotage: [^\n]+\n$/);
  });

  test("run says so with 125, for any other code is the program's", async () => {
    expect(await cli(['run'])).toMatchObject({ code: 125 });
    expect(await cli(['run', '--cpus', 'x', '--', 'true'])).toMatchObject({ code: 125 });
    expect(await cli(['run', '--', 'true'])).toMatchObject({ code: 125 });
  });

  test('no command at all shows the help', async () => {
    const result = await cli([]);
    expect(result.code).toBe(2);
    expect(result.stderr).toContain('Commands:');
  });
});

describe('help', () => {
  test.each([[['--help']], [['submit', '--help']], [['token', 'create', '--help']]])('%j', async (argv) => {
    const result = await cli(argv);
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(result.stdout).toContain('Usage: pilotage');
  });

  test('version', async () => {
    expect(await cli(['version'])).toMatchObject({ code: 0, stdout: 'pilotage 1.2.3\n' });
    expect(await cli(['--version'])).toMatchObject({ code: 0, stdout: '1.2.3\n' });
    expect(JSON.parse((await cli(['version', '--json'])).stdout)).toMatchObject({ version: '1.2.3' });
  });
});

describe('serve', () => {
  test('takes what it is told', async () => {
    const { code, started } = await cli([
      'serve',
      '--data',
      'd',
      '--listen',
      '0.0.0.0:80',
      '--workers',
      '3',
      '--tls-self-made',
      '--heartbeat',
      '2m',
      '--lease',
      '5m',
      '-vv',
    ]);
    expect(code).toBe(0);
    expect(started).toEqual([
      {
        data: '/nowhere/d',
        listen: { host: '0.0.0.0', port: 80 },
        workers: 3,
        tls: { kind: 'self-made' },
        insecure: false,
        heartbeatSeconds: 120,
        leaseSeconds: 300,
        verbose: 2,
      },
    ]);
  });

  test('a flag goes before its variable, and the variable before nothing', async () => {
    const env = {
      HOME: '/home/me',
      PILOTAGE_SERVE_WORKERS: '4',
      PILOTAGE_SERVE_LISTEN: '[::1]:90',
      PILOTAGE_SERVE_INSECURE: '1',
    };
    expect((await cli(['serve', '--workers', '2'], { env })).started).toMatchObject([
      { data: '/home/me/.local/share/pilotage', workers: 2, listen: { host: '::1', port: 90 }, insecure: true },
    ]);
  });

  test('a variable is checked as a flag is', async () => {
    const result = await cli(['serve'], { env: { HOME: '/home/me', PILOTAGE_SERVE_WORKERS: 'all' } });
    expect(result).toMatchObject({
      code: 2,
      stderr: "pilotage: variable PILOTAGE_SERVE_WORKERS value 'all' is invalid. It is a whole number, 0 or more\n",
    });
  });

  test.each([
    [['--database', 'postgres://me:secret@db/pilotage'], 'can be read by everybody on this machine'],
    [['--database', 'postgres://db/pilotage?password=secret'], 'can be read by everybody on this machine'],
    [['--database', 'mysql://db/pilotage'], 'is not a URL of PostgreSQL'],
    [['--tls-cert', 'c.pem'], 'go together'],
    [['--tls-self-made', '--tls-cert', 'c.pem', '--tls-key', 'k.pem'], 'leave out --tls-cert'],
    [['--listen', 'everywhere'], 'is no address to listen on'],
    [['--listen', '1.2.3.4:99999'], 'is no address to listen on'],
    [['--heartbeat', '30s', '--lease', '20s'], 'runs out before the next heartbeat'],
  ])('%j is refused: %s', async (argv, message) => {
    const result = await cli(['serve', ...argv]);
    expect(result.code).toBe(2);
    expect(result.stderr).toContain(message);
    expect(result.stderr).not.toContain('secret');
    expect(result.started).toEqual([]);
  });

  test('a password comes from the environment or from a file that only its owner reads', async () => {
    const url = 'postgres://me:secret@db/pilotage';
    const directory = temporaryDirectory();
    writeFileSync(`${directory}/database`, `${url}\n`, { mode: 0o600 });
    writeFileSync(`${directory}/open`, url, { mode: 0o644 });
    expect((await cli(['serve'], { env: { HOME: '/', PILOTAGE_DATABASE: url } })).started).toMatchObject([
      { database: url },
    ]);
    expect((await cli(['serve', '--database-file', `${directory}/database`])).started).toMatchObject([
      { database: url },
    ]);
    expect(await cli(['serve', '--database-file', `${directory}/open`])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('chmod 600'),
    });
  });
});

describe('worker', () => {
  test('takes what it is told, and its server from where every command has it', async () => {
    const argv = [
      '--slots',
      '8',
      '--memory',
      '4GiB',
      '--gpus',
      '1',
      '--resource',
      'license=2',
      '--resource',
      'tape=1',
      '--label',
      'cpu=zen4',
      '--zone',
      'hall',
      '--wall-time',
      '2h',
      '--until-idle',
      '60s',
      '--cache',
      'c',
      '-p',
      'a,b',
    ];
    const env = {
      HOME: '/',
      PILOTAGE_SERVER: 'https://server:9990',
      PILOTAGE_TOKEN_FILE: 'token',
      PILOTAGE_FINGERPRINT: 'ab',
    };
    expect((await cli(['worker', ...argv], { env })).started).toEqual([
      {
        version: '1.2.3',
        server: 'https://server:9990',
        tokenFile: '/nowhere/token',
        fingerprint: 'ab',
        share: {},
        slots: 8,
        memory: 4 * 1024 ** 3,
        gpus: 1,
        named: { license: 2, tape: 1 },
        labels: { cpu: 'zen4' },
        zone: 'hall',
        wallTimeSeconds: 7200,
        untilIdleSeconds: 60,
        workDirectory: '/nowhere/c',
        projects: ['a', 'b'],
        keepSandboxes: false,
        verbosity: 1,
      },
    ]);
  });
});
