import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { credentialMemory } from '../../../src/worker/transport/ssh/credentials.ts';
import { fingerprintOf, makeKey } from '../../support/ssh-accounts.ts';
import { answering, openTransport } from '../../support/ssh-client.ts';
import { hostEntry, writeClientConfig } from '../../support/ssh-config.ts';
import { missingSshd, type SshServer, skipWithoutSshd, startSshServer } from '../../support/ssh-server.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { waitUntil } from '../../support/wait-until.ts';

let server: SshServer;
beforeAll(async () => {
  if (missingSshd() === undefined) server = await startSshServer();
});
afterAll(() => server?.stop());
beforeEach(({ skip }) => skipWithoutSshd(skip));

const withPassword = { client: { key: 'none' } } as const;

describe.each([true, false])('a login (multiplexed: %s)', (multiplex) => {
  test('a password is asked for once, however many commands there are', async () => {
    const ask = answering(server.password);
    const transport = openTransport(server, { ...withPassword, multiplex, ask });
    const results = await Promise.all([1, 2, 3, 4, 5].map(() => transport.run('id -un')));
    expect(results.map(({ stdout }) => stdout.trim())).toEqual(Array(5).fill(server.user));
    expect(ask.asked).toEqual([{ machine: 'site', kind: 'password', prompt: `${server.user}@127.0.0.1's password: ` }]);
    expect(ask.refusals).toEqual([]);
  });

  test('goes on where somebody cleaned away the files that it keeps among temporary ones', async () => {
    const ask = answering(server.password, server.password, server.password);
    const controlDirectory = path.join(temporaryDirectory(), 'control');
    const transport = openTransport(server, { ...withPassword, multiplex, ask, controlDirectory });
    await transport.run('true');
    rmSync(controlDirectory, { recursive: true });
    // What reads a stream takes its shell along: the second needs a new one.
    for (const at of [1, 2])
      expect((await transport.run('cat', { stdin: Readable.from([`${at}`]) })).stdout).toBe(`${at}`);
    expect(ask.asked).toHaveLength(2);
  });

  test('a wrong password is told as that, and is neither tried nor asked for again', async () => {
    const ask = answering('wrong', 'wrong', 'wrong');
    const before = server.log().match(/Failed password/g)?.length ?? 0;
    const transport = openTransport(server, { ...withPassword, multiplex, ask, tries: 3 });
    await expect(transport.run('touch /tmp/ran')).rejects.toMatchObject({
      code: 'login-refused',
      message: expect.stringMatching(/'site' refused the login .*password .* is wrong/),
      details: { mayHaveRun: false },
    });
    expect(ask.asked).toHaveLength(1);
    expect(ask.refusals).toEqual(ask.asked);
    expect((server.log().match(/Failed password/g)?.length ?? 0) - before).toBe(1);
  });

  test('a login that nobody answers for is not tried', async () => {
    const before = server.log().match(/Failed password/g)?.length ?? 0;
    const transport = openTransport(server, { ...withPassword, multiplex, ask: answering(undefined) });
    await expect(transport.connect()).rejects.toMatchObject({
      code: 'credential-missing',
      details: { kind: 'password' },
    });
    expect(server.log().match(/Failed password/g)?.length ?? 0).toBe(before);
  });

  test("a key's passphrase is asked for", async () => {
    const ask = answering(server.passphrase);
    const transport = openTransport(server, { client: { key: 'locked' }, multiplex, ask });
    expect((await transport.run('echo in')).stdout).toBe('in\n');
    expect(ask.asked).toMatchObject([{ kind: 'passphrase', prompt: expect.stringContaining('id_locked') }]);
  });

  test('a key that is not let in is told as that', async () => {
    const lines = ['PasswordAuthentication no'];
    const transport = openTransport(server, { client: { key: 'stranger', lines }, multiplex });
    await expect(transport.connect()).rejects.toMatchObject({
      code: 'login-refused',
      message: expect.stringMatching(/no key of yours is accepted .*publickey.*authorized_keys/),
    });
  });
});

test('a server that asks for a code gets a fresh one at each login', async () => {
  const guarded = await startSshServer({ code: '314159' });
  onTestFinished(() => guarded.stop());
  const ask = answering('314159', '314159');
  const memory = credentialMemory(ask);
  for (const at of [1, 2]) {
    const transport = openTransport(guarded, { client: { key: 'none' }, ask: memory });
    expect((await transport.run('id -un')).stdout).toBe(`${guarded.user}\n`);
    await transport.run('echo again');
    expect(ask.asked).toHaveLength(at);
    await transport.close();
  }
  expect(ask.asked[0]).toMatchObject({ kind: 'code', prompt: expect.stringContaining('one-time code') });
  const wrong = openTransport(guarded, { client: { key: 'none' }, ask: answering('271828') });
  await expect(wrong.connect()).rejects.toMatchObject({
    code: 'login-refused',
    message: expect.stringMatching(/the code .* is wrong/),
  });
});

test('a password is remembered from login to login, and forgotten when it was refused', async () => {
  const ask = answering('wrong', server.password, 'never asked');
  const memory = credentialMemory(ask);
  await expect(openTransport(server, { ...withPassword, ask: memory }).connect()).rejects.toMatchObject({
    code: 'login-refused',
  });
  await openTransport(server, { ...withPassword, ask: memory }).connect();
  await openTransport(server, { ...withPassword, ask: memory }).connect();
  expect(ask.asked).toHaveLength(2);
});

test('a password stands in no command line, environment or file while it is used', async () => {
  const secret = server.password;
  const ask = async (): Promise<string> => {
    queueMicrotask(() => void look());
    return secret;
  };
  const looks: string[][] = [];
  let isOver = false;
  const look = async (): Promise<void> => {
    while (!isOver) {
      looks.push(processesWith(secret));
      await new Promise(setImmediate);
    }
  };
  const directory = temporaryDirectory();
  const controlDirectory = path.join(directory, 'control');
  const transport = openTransport(server, { ...withPassword, ask, controlDirectory });
  await transport.connect();
  isOver = true;
  expect(looks.length).toBeGreaterThan(3);
  expect(looks.flat()).toEqual([]);
  const files = readdirSync(controlDirectory);
  const modeOf = (file: string): number => statSync(file).mode & 0o777;
  expect(modeOf(controlDirectory)).toBe(0o700);
  expect(files.map((name) => modeOf(path.join(controlDirectory, name)) & 0o077)).toEqual(files.map(() => 0));
  expect(files.length).toBeGreaterThan(2);
  for (const file of files.filter((name) => /\.(sh|conf)$/.test(name))) {
    expect(readFileSync(path.join(controlDirectory, file), 'utf8')).not.toContain(secret);
  }
  await transport.close();
  expect(readdirSync(controlDirectory)).toEqual([]);
});

/** Whose command line or environment holds the text. */
function processesWith(secret: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => [`/proc/${pid}/cmdline`, `/proc/${pid}/environ`])
    .filter((file) => {
      try {
        return readFileSync(file, 'utf8').includes(secret);
      } catch {
        return false;
      }
    });
}

describe('host keys', () => {
  test('an unknown one is shown with its fingerprint, and nothing is sent', async () => {
    const ask = answering(undefined);
    const transport = openTransport(server, { client: { key: 'none', known: 'none' }, ask });
    await expect(transport.connect()).rejects.toMatchObject({
      code: 'host-key-unknown',
      message: expect.stringContaining(server.fingerprint),
      details: { fingerprint: server.fingerprint, keyType: 'ED25519', mayHaveRun: false },
    });
    expect(ask.asked).toMatchObject([{ kind: 'host-key', fingerprint: server.fingerprint }]);
  });

  test('"yes" accepts none', async () => {
    const transport = openTransport(server, { client: { known: 'none' }, ask: answering('yes', 'yes') });
    await expect(transport.connect()).rejects.toMatchObject({ code: 'host-key-unknown' });
  });

  test('one that was to be accepted is, and from then on it is known', async () => {
    const directory = temporaryDirectory();
    const sshConfig = writeClientConfig(directory, [hostEntry(server, { known: 'none' })]);
    const wrong = openTransport(server, { sshConfig, acceptHostKeys: [`SHA256:${'A'.repeat(43)}`] });
    await expect(wrong.connect()).rejects.toMatchObject({ code: 'host-key-unknown' });
    await openTransport(server, { sshConfig, acceptHostKeys: [server.fingerprint] }).connect();
    await openTransport(server, { sshConfig }).connect();
  });

  test("a user's configuration cannot turn the question off", async () => {
    const lines = [
      'StrictHostKeyChecking no',
      'ControlMaster auto',
      'RemoteCommand touch /tmp/ran',
      'RequestTTY force',
      'LogLevel QUIET',
    ];
    const transport = openTransport(server, { client: { known: 'none', lines } });
    await expect(transport.connect()).rejects.toMatchObject({ code: 'host-key-unknown' });
    const known = openTransport(server, { client: { lines } });
    expect((await known.run('tty')).stdout).toBe('not a tty\n');
  });

  test('a changed one is refused, and the line that holds the old one is named', async () => {
    const directory = temporaryDirectory();
    makeKey(path.join(directory, 'other'), '');
    const key = readFileSync(path.join(directory, 'other.pub'), 'utf8');
    const sshConfig = writeClientConfig(directory, [hostEntry(server, { known: { key } })]);
    const ask = answering(server.fingerprint);
    const transport = openTransport(server, { sshConfig, ask, acceptHostKeys: [server.fingerprint] });
    await expect(transport.connect()).rejects.toMatchObject({
      code: 'host-key-changed',
      message: expect.stringContaining(`${path.join(directory, 'known_hosts')}:1`),
      details: { fingerprint: server.fingerprint },
    });
    expect(fingerprintOf(path.join(directory, 'other.pub'))).not.toBe(server.fingerprint);
    expect(ask.asked).toEqual([]);
  });
});

describe('a machine behind another', () => {
  let gate: SshServer;
  beforeAll(async () => {
    if (missingSshd() === undefined) gate = await startSshServer();
  });
  afterAll(() => gate?.stop());
  const through = { lines: ['ProxyJump gate'] };

  test('is reached, and each asks for what it needs', async () => {
    const directory = temporaryDirectory();
    const sshConfig = writeClientConfig(directory, [
      hostEntry(server, { ...through, key: 'locked' }),
      hostEntry(gate, { alias: 'gate', key: 'none' }),
    ]);
    const ask = answering(gate.password, server.passphrase);
    const transport = openTransport(server, { sshConfig, ask });
    expect((await transport.run('echo $SSH_CONNECTION')).stdout).toContain(` ${server.port}\n`);
    expect(ask.asked.map(({ kind }) => kind)).toEqual(['password', 'passphrase']);
    expect(gate.logins()).toBe(1);
  });

  test('the key of the one on the way is verified too, whatever the configuration says', async () => {
    const directory = temporaryDirectory();
    const sshConfig = writeClientConfig(directory, [
      hostEntry(server, through),
      hostEntry(gate, { alias: 'gate', known: 'none', lines: ['StrictHostKeyChecking no'] }),
    ]);
    await expect(openTransport(server, { sshConfig }).connect()).rejects.toMatchObject({
      code: 'host-key-unknown',
      details: { fingerprint: gate.fingerprint },
    });
    await openTransport(server, { sshConfig, acceptHostKeys: [gate.fingerprint] }).connect();
  });

  test('is not reached when the way ends before it', async () => {
    const directory = temporaryDirectory();
    const sshConfig = writeClientConfig(directory, [
      hostEntry(server, { ...through, port: 1 }),
      hostEntry(gate, { alias: 'gate' }),
    ]);
    await expect(openTransport(server, { sshConfig }).connect()).rejects.toMatchObject({ code: 'unreachable' });
    await waitUntil(
      'the login at the gate is over',
      () => gate.log().includes('Received disconnect') || gate.log().includes('Connection closed'),
    );
  });
});
