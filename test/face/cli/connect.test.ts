import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { resolveServer } from '../../../src/face/cli/connect.ts';
import { findSession, forgetSession, keepSession, sessionFile } from '../../../src/face/cli/session-file.ts';
import { cli } from '../../support/cli-context.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

/** Nothing listens there. */
const NOWHERE = 'http://127.0.0.1:9';

function dataDirectory(pid = process.pid): string {
  const data = temporaryDirectory({
    'server.json': JSON.stringify({ url: NOWHERE, pid, fingerprint: 'ab', version: '1' }),
  });
  writeFileSync(path.join(data, 'admin-token'), 'secret\n', { mode: 0o600 });
  return data;
}

describe('which server is meant', () => {
  const data = { own: '', other: '' };

  test.each([
    [
      '--server goes before all',
      { server: 'https://a:1', tokenFile: 't' },
      { PILOTAGE_SERVER: 'https://b:1' },
      { url: 'https://a:1', tokenFile: 't' },
    ],
    [
      'the variables',
      {},
      { PILOTAGE_SERVER: 'https://b:1/', PILOTAGE_TOKEN_FILE: 'e', PILOTAGE_FINGERPRINT: 'ff' },
      { url: 'https://b:1', tokenFile: 'e', fingerprint: 'ff' },
    ],
    [
      'a flag beside a variable',
      { tokenFile: 't' },
      { PILOTAGE_SERVER: 'https://b:1', PILOTAGE_TOKEN_FILE: 'e' },
      { url: 'https://b:1', tokenFile: 't' },
    ],
  ])('%s', (_what, choice, env, expected) => {
    expect(resolveServer(choice, env)).toEqual(expected);
  });

  test('--data names a server on this machine, with its own token and certificate', () => {
    data.own = dataDirectory();
    const found = resolveServer({ data: data.own }, { PILOTAGE_SERVER: 'https://b:1', PILOTAGE_TOKEN_FILE: 'e' });
    expect(found).toMatchObject({ url: NOWHERE, tokenFile: path.join(data.own, 'admin-token'), fingerprint: 'ab' });
  });

  test("otherwise it is the user's own", () => {
    const home = temporaryDirectory({
      '.local/share/pilotage/server.json': JSON.stringify({ url: NOWHERE, pid: 1, fingerprint: null }),
    });
    expect(resolveServer({}, { HOME: home })).toMatchObject({
      url: NOWHERE,
      tokenFile: `${home}/.local/share/pilotage/admin-token`,
    });
  });

  test.each([
    ['no address', { server: 'somewhere', tokenFile: 't' }, "write 'https://HOST:PORT'"],
    ['a password in it', { server: 'https://me:secret@a', tokenFile: 't' }, 'holds no password'],
    ['no token', { server: 'https://a' }, 'which token for https://a?'],
  ])('%s is refused', (_what, choice, message) => {
    expect(() => resolveServer(choice, {})).toThrow(message);
  });
});

describe('by what one is known there', () => {
  const loggedIn = () => {
    const home = temporaryDirectory();
    const file = sessionFile({ HOME: home }, NOWHERE);
    keepSession(file, 'pilotage_of-a-login');
    return { home, file, data: dataDirectory() };
  };

  test('a login goes before the administrator’s token of the data directory, and after what is named', () => {
    const { home, file, data } = loggedIn();
    const env = { HOME: home };
    expect(resolveServer({ data }, env).tokenFile).toBe(file);
    expect(resolveServer({}, { ...env, PILOTAGE_DATA: data }).tokenFile).toBe(file);
    expect(resolveServer({ server: NOWHERE }, env).tokenFile).toBe(file);
    expect(resolveServer({ data, tokenFile: 't' }, env).tokenFile).toBe('t');
    expect(resolveServer({ server: NOWHERE }, { ...env, PILOTAGE_TOKEN_FILE: 'e' }).tokenFile).toBe('e');
    expect(resolveServer({}, env, { server: NOWHERE, tokenFile: 'c' }).tokenFile).toBe('c');
    forgetSession(file);
    expect(resolveServer({ data }, env).tokenFile).toBe(path.join(data, 'admin-token'));
  });

  test('is one thing for each server, in files for their owner alone', () => {
    const { home, file } = loggedIn();
    const other = sessionFile({ HOME: home }, 'http://127.0.0.1:10');
    expect(findSession({ HOME: home }, 'http://127.0.0.1:10')).toBeUndefined();
    keepSession(other, 'pilotage_another');
    expect(readFileSync(file, 'utf8')).toBe('pilotage_of-a-login\n');
    expect([statSync(file).mode & 0o777, statSync(path.dirname(file)).mode & 0o777]).toEqual([0o600, 0o700]);
    expect(sessionFile({ HOME: home, XDG_STATE_HOME: '/state' }, NOWHERE)).toMatch(/^\/state\/pilotage\/sessions\//);
  });

  test('is told where it is nothing', () => {
    expect(() => resolveServer({ server: 'https://a' }, { HOME: temporaryDirectory() })).toThrow(
      "Log in with 'pilotage login'",
    );
  });
});

describe('what a person is told', () => {
  test('where there is no server', async () => {
    const result = await cli(['status'], { env: { HOME: '/nowhere' } });
    expect(result).toMatchObject({ code: 3, stdout: '' });
    expect(result.stderr).toBe(
      "pilotage: no server is running in '/nowhere/.local/share/pilotage': start one with 'pilotage serve', or name one with --server URL\n",
    );
  });

  test('where the server has ended', async () => {
    const data = dataDirectory(2 ** 22 + 1);
    const result = await cli(['status', '--data', data]);
    expect(result.code).toBe(3);
    expect(result.stderr).toBe(
      `pilotage: the server of '${data}' is not running (its process 4194305 is gone): start it with 'pilotage serve'\n`,
    );
  });

  test('where nothing answers', async () => {
    const data = dataDirectory();
    const result = await cli(['--server', NOWHERE, '--token-file', `${data}/admin-token`, 'why', '1']);
    expect(result.code).toBe(3);
    expect(result.stderr).toMatch(
      /^pilotage: no answer from http:\/\/127\.0\.0\.1:9 \(.*ECONNREFUSED.*\): is the server running/,
    );
  });

  test('where others can read the token', async () => {
    const data = dataDirectory();
    chmodSync(`${data}/admin-token`, 0o640);
    const result = await cli(['status', '--data', data]);
    expect(result.code).toBe(2);
    expect(result.stderr).toContain(`(mode 0640), which holds a secret: run 'chmod 600 ${data}/admin-token'`);
  });

  test('where the token is not there', async () => {
    const result = await cli(['status', '--server', NOWHERE, '--token-file', '/nowhere/token']);
    expect(result).toMatchObject({ code: 2, stderr: "pilotage: the token file '/nowhere/token' is not there\n" });
  });
});
