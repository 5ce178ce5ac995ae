import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import type { JobDetail } from '../../src/ground/protocol/job.ts';
import type { CheckName, SiteCheck } from '../../src/ground/protocol/site-check.ts';
import { startAtTerminal } from '../support/at-terminal.ts';
import { freePort } from '../support/free-port.ts';
import { type Running, type RunningServer, startCommand, startServer } from '../support/running-server.ts';
import { fingerprintOf, makeKey } from '../support/ssh-accounts.ts';
import { type ClientConfigOptions, hostEntry, writeClientConfig } from '../support/ssh-config.ts';
import { missingSshd, type SshServer, skipWithoutSshd, startSshServer } from '../support/ssh-server.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { waitUntil } from '../support/wait-until.ts';

let server: SshServer;
beforeAll(async () => {
  if (missingSshd() === undefined) server = await startSshServer();
});
afterAll(() => server?.stop());
beforeEach(({ skip }) => skipWithoutSshd(skip));

/** A file with one site, `hall`, with these keys and hosts. */
function describeSite(hosts: readonly ClientConfigOptions[] = [{}], keys: readonly string[] = [], at = server) {
  const directory = temporaryDirectory();
  const sshConfig = writeClientConfig(
    path.join(directory, 'ssh'),
    hosts.map((host) => hostEntry(at, host)),
  );
  const machines = hosts.map(({ alias = 'site' }) => alias).join(', ');
  const lines = [
    'name: hall',
    'transport: ssh',
    `machines: [${machines}]`,
    `sshConfig: ${sshConfig}`,
    'timeout: 5s',
    ...keys,
  ];
  const file = path.join(directory, 'sites.yaml');
  writeFileSync(file, `sites:\n  - ${lines.join('\n    ')}\n`);
  return { file, directory, env: { PILOTAGE_SITES: file, HOME: directory } };
}

async function testSite(env: Readonly<Record<string, string>>, ...flags: string[]) {
  const { code, stdout, stderr } = await startCommand(['site', 'test', 'hall', '--json', ...flags], { env }).done;
  if (stdout === '') throw new Error(stderr);
  const found = JSON.parse(stdout) as SiteCheck;
  const item = (check: CheckName, machine = 0) => found.machines[machine]?.checks.find((one) => one.check === check);
  return { code, found, item };
}

describe('site test', () => {
  test('a machine that is fit passes all checks, for a person and for a program', async () => {
    const { env } = describeSite([{}], ['temporaryDirectory: /tmp/$USER/jobs', 'programDirectory: /usr/bin']);
    const { code, found } = await testSite(env);
    expect(found.machines[0]?.checks.map(({ outcome }) => outcome)).toEqual(Array(8).fill('passed'));
    expect([code, found.ok, found.machines[0]?.user]).toEqual([0, true, server.user]);
    expect(statSync(server.seen(`/tmp/${server.user}/jobs`)).isDirectory()).toBe(true);
    const person = await startCommand(['site', 'test', 'hall'], { env }).done;
    expect(person.code).toBe(0);
    expect(person.stdout).toMatch(/^MACHINE +CHECK +RESULT\nsite +reachable +ok/);
    expect(person.stdout).toContain('site hall is fit for jobs');
  });

  test('an unknown host key is shown, and accepted only by exactly its fingerprint', async () => {
    const { env } = describeSite([{ known: 'none' }]);
    const first = await testSite(env);
    expect([first.code, first.found.machines[0]?.fingerprint]).toEqual([1, server.fingerprint]);
    expect(first.item('host-key')).toMatchObject({
      outcome: 'failed',
      detail: expect.stringContaining(server.fingerprint),
      advice: expect.stringContaining(`--accept-host-key ${server.fingerprint}`),
    });
    const before = server.logins();
    const wrong = `SHA256:${'A'.repeat(43)}`;
    expect((await testSite(env, '--accept-host-key', wrong)).item('host-key')?.outcome).toBe('failed');
    expect(server.logins()).toBe(before);
    const taken = await testSite(env, '--accept-host-key', server.fingerprint);
    expect([taken.code, taken.item('host-key')?.detail]).toEqual([0, expect.stringContaining('accepted')]);
    expect((await testSite(env)).code).toBe(0);
  });

  test('a changed host key is refused, also when it is to be accepted', async () => {
    const other = path.join(temporaryDirectory(), 'other');
    makeKey(other, '');
    const { env } = describeSite([{ known: { key: readFileSync(`${other}.pub`, 'utf8') } }]);
    for (const fingerprint of [server.fingerprint, fingerprintOf(`${other}.pub`)]) {
      const { code, item } = await testSite(env, '--accept-host-key', fingerprint);
      expect([code, item('host-key')]).toMatchObject([
        1,
        { outcome: 'failed', detail: expect.stringContaining('ssh-keygen -R') },
      ]);
      expect(item('login')?.outcome).toBe('skipped');
    }
  });

  test('a wrong key, and a password that nobody is there to give, fail at the login', async () => {
    const { env } = describeSite([
      { alias: 'stranger', key: 'stranger', lines: ['PreferredAuthentications publickey'] },
      { alias: 'asking', key: 'none' },
    ]);
    const { code, item } = await testSite(env);
    expect(code).toBe(1);
    expect(item('login', 0)).toMatchObject({ outcome: 'failed', detail: expect.stringContaining('authorized_keys') });
    expect(item('login', 1)).toMatchObject({
      outcome: 'failed',
      detail: expect.stringContaining('needs a password'),
      advice: expect.stringContaining('in a terminal'),
    });
  });

  test('machines are looked at one by one: what is wrong with one says nothing about another', async () => {
    const { env } = describeSite([{ alias: 'down', port: await freePort() }, { alias: 'up' }]);
    const { code, found, item } = await testSite(env);
    expect([code, found.machines.map(({ ok }) => ok)]).toEqual([1, [false, true]]);
    expect(item('reachable')).toMatchObject({
      outcome: 'failed',
      detail: expect.stringContaining('nothing listens there'),
    });
    expect(item('clock')).toMatchObject({ outcome: 'skipped' });
    expect((await testSite(env, '--machine', 'up')).code).toBe(0);
    const person = await startCommand(['site', 'test', 'hall'], { env }).done;
    expect(person.stdout).toContain('something failed on 1 machine of 2');
  });

  test('a machine that does not answer is given up in the time of the site', async () => {
    const { env } = describeSite([{}], ['tries: 1']);
    server.pause();
    onTestFinished(() => server.resume());
    const began = performance.now();
    expect((await testSite(env)).item('reachable')?.outcome).toBe('failed');
    expect(performance.now() - began).toBeLessThan(20_000);
  });

  test('what is wrong on the machine is told with what to do', async () => {
    const { env } = describeSite(
      [{}],
      ['scheduler: slurm', 'programDirectory: /opt/none', 'temporaryDirectory: /proc/x'],
    );
    const { code, item } = await testSite({ ...env });
    expect(code).toBe(1);
    for (const check of ['program-directory', 'temporary-directory'] as const)
      expect(item(check)).toMatchObject({ outcome: 'failed', advice: expect.any(String) });
  });

  test('another machine is looked at only where the site allows it', async () => {
    const { env, file } = describeSite();
    const run = () => startCommand(['site', 'test', 'hall', '--machine', 'other'], { env }).done;
    expect(await run()).toMatchObject({ code: 2, stderr: expect.stringContaining('allows no others') });
    writeFileSync(file, `${readFileSync(file, 'utf8')}    userExtensible: true\n`);
    expect(await run()).toMatchObject({ code: 1, stdout: expect.stringContaining('no host of that name') });
  });

  test('a password is asked for at the terminal, and is not shown', async () => {
    const { env } = describeSite([{ key: 'none' }]);
    const terminal = startAtTerminal(['site', 'test', 'hall'], { env });
    await waitUntil('the question', () => terminal.screen().includes('password:'));
    expect(terminal.screen()).toContain(`login on site: ${server.user}@127.0.0.1's password:`);
    terminal.type(`${server.password}\r`);
    expect(await terminal.done).toBe(0);
    expect(terminal.screen()).toContain('site hall is fit for jobs');
    expect(terminal.screen()).not.toContain('site-secret');
  });

  test('Ctrl-C at the question ends it', async () => {
    const terminal = startAtTerminal(['site', 'test', 'hall'], { env: describeSite([{ key: 'none' }]).env });
    await waitUntil('the question', () => terminal.screen().includes('password:'));
    terminal.type('abc\x03');
    expect(await terminal.done).toBe(130);
    expect(terminal.screen()).not.toContain('abc');
  });
});

describe('the agent', () => {
  let pool: RunningServer;
  let state: string;
  beforeAll(async () => {
    // What an agent says of its jobs comes with its heartbeats.
    pool = await startServer(['--heartbeat', '1s']);
    state = mkdtempSync(path.join(tmpdir(), 'pilotage-agent-'));
  });
  afterAll(async () => {
    await pool[Symbol.asyncDispose]();
    rmSync(state, { recursive: true, force: true });
  });

  function startAgent(env: Readonly<Record<string, string>>): Running {
    const agent = pool.start(['agent', '--directory', state, '-v'], { env });
    onTestFinished(async () => {
      agent.child.kill();
      await agent.done;
    });
    return agent;
  }
  async function startJob(env: Readonly<Record<string, string>>): Promise<string> {
    const project = temporaryDirectory();
    const words = ['job', 'run', '--site', 'hall', '--detach', '-o', 'out', '--', 'sh', '-c', 'id -un >out'];
    return (await pool.json<{ number: string }>(words, { env, cwd: project })).number;
  }
  const jobOf = (number: string) => pool.json<JobDetail>(['job', 'show', number]);
  const ended = (number: string) =>
    waitUntil('the job has ended', async () => {
      const job = await jobOf(number);
      return ['COMPLETED', 'FAILED', 'CANCELLED'].includes(job.state) && job;
    });
  const questions = () =>
    pool.json<{ id: string; kind: string; wasRefused: boolean }[]>(['agent', 'login', '--directory', state]);

  test('a job waits for a password, which comes in through the socket, and is in no file, log, argument or variable', async () => {
    const { env, directory } = describeSite([{ key: 'none' }]);
    const agent = startAgent(env);
    const number = await startJob(env);
    const [open] = await waitUntil('the question', async () => {
      const found = await questions().catch(() => []);
      return found.length > 0 && found;
    });
    expect(open).toMatchObject({ kind: 'password', machine: 'site', wasRefused: false });
    const waiting = await waitUntil('the job says so', async () => {
      const job = await jobOf(number);
      return job.phase === 'login' && job;
    });
    expect(waiting).toMatchObject({ state: 'PREPROCESSING', detail: expect.stringContaining('needs a password') });
    expect(waiting.detail).toContain("'pilotage agent login'");

    const seen = watchProcesses();
    const login = startAtTerminal(['agent', 'login', '--directory', state], {
      env: { ...env, PILOTAGE_DATA: pool.data },
    });
    await waitUntil('the question', () => login.screen().includes('password:'));
    login.type('site-secret-wrong\r');
    await waitUntil('the second question', () => login.screen().includes('what was given before was refused'));
    login.type(`${server.password}\r`);
    expect(await login.done).toBe(0);
    expect(login.screen()).not.toContain('site-secret');

    expect(await ended(number)).toMatchObject({ state: 'COMPLETED' });
    expect(secretsIn(agent.stderr() + agent.stdout())).toEqual([]);
    expect([state, pool.data, directory].flatMap(filesWithSecrets)).toEqual([]);
    expect([...seen()]).toEqual([]);

    const status = await pool.json<{ questions: unknown[]; use: object[] }>(['agent', 'status', '--directory', state]);
    expect(status).toMatchObject({ questions: [], use: [{ site: 'hall', machine: 'site' }] });
    const second = await startJob(env);
    expect(await ended(second)).toMatchObject({ state: 'COMPLETED' });
    expect(await questions()).toEqual([]);
  });

  test('site show tells how the agent uses the site', async () => {
    const { env, directory } = describeSite();
    const agent = pool.start(['agent'], { env });
    onTestFinished(async () => {
      agent.child.kill();
      await agent.done;
    });
    await ended(await startJob(env));
    const shown = await pool.json<{ use: object[] }>(['site', 'show', 'hall'], { env });
    expect(shown.use).toMatchObject([
      { site: 'hall', machine: 'site', connections: 1, polls: expect.any(Number), intervalMs: expect.any(Number) },
    ]);
    expect(statSync(path.join(directory, '.local/share/pilotage/agent')).isDirectory()).toBe(true);
    expect((await pool.run(['site', 'show', 'hall'], { env })).stdout).toMatch(/TO SCHEDULER/);
  });

  test('it asks at its own terminal, where there is one, and again when the password was wrong', async () => {
    const { env } = describeSite([{ key: 'none' }]);
    const agent = startAtTerminal(['agent', '--directory', state], { env: { ...env, PILOTAGE_DATA: pool.data } });
    const number = await startJob(env);
    await waitUntil('the question', () => agent.screen().includes('password:'));
    agent.type('site-secret-wrong\r');
    await waitUntil('the second question', () => agent.screen().includes('what was given before was refused'));
    agent.type(`${server.password}\r`);
    expect(await ended(number)).toMatchObject({ state: 'COMPLETED' });
    expect(agent.screen()).not.toContain('site-secret');
    agent.type('\x03');
    expect(await agent.done).toBe(0);
  });

  test('a one-time code is asked for once for the connection, not for each job', async () => {
    const locked = await startSshServer({ code: 'site-secret-42' });
    onTestFinished(() => locked.stop());
    const { env, directory } = describeSite([{ key: 'none' }], [], locked);
    const agent = startAgent(env);
    const numbers = [await startJob(env), await startJob(env)];
    await waitUntil('the question', async () => (await questions().catch(() => []))[0]?.kind === 'code');
    const login = startAtTerminal(['agent', 'login', '--directory', state], {
      env: { ...env, PILOTAGE_DATA: pool.data },
    });
    await waitUntil('the question', () => login.screen().includes('login on site: '));
    login.type(`site-secret-42\r`);
    expect(await login.done).toBe(0);
    for (const number of numbers) expect(await ended(number)).toMatchObject({ state: 'COMPLETED' });
    expect(locked.logins()).toBe(1);
    expect(secretsIn(login.screen() + agent.stderr())).toEqual([]);
    expect([state, pool.data, directory].flatMap(filesWithSecrets)).toEqual([]);
  });

  test('an unknown host key waits for a word on it, and its fingerprint is shown', async () => {
    const { env } = describeSite([{ known: 'none' }]);
    startAgent(env);
    const number = await startJob(env);
    await waitUntil('the question', async () => (await questions().catch(() => [])).length > 0);
    const login = startAtTerminal(['agent', 'login', '--directory', state], {
      env: { ...env, PILOTAGE_DATA: pool.data },
    });
    await waitUntil('the question', () => login.screen().includes('fingerprint: '));
    expect(login.screen()).toContain(server.fingerprint);
    login.type('yes\r');
    expect(await login.done).toBe(0);
    expect(await ended(number)).toMatchObject({ state: 'COMPLETED' });
  });

  test('without a terminal the login says what it needs, and without sites the agent says how to make one', async () => {
    const { env } = describeSite([{ key: 'none' }]);
    startAgent(env);
    const number = await startJob(env);
    await waitUntil('the question', async () => (await questions().catch(() => [])).length > 0);
    const login = await pool.run(['agent', 'login', '--directory', state], { env });
    expect(login).toMatchObject({ code: 2, stderr: expect.stringContaining('site must be logged in to') });
    await pool.run(['job', 'cancel', number]);
    const none = { HOME: temporaryDirectory(), PILOTAGE_INSTALLATION_SITES: '/nowhere/sites.yaml' };
    const agent = await pool.run(['agent'], { env: none });
    expect(agent).toMatchObject({ code: 2, stderr: expect.stringContaining('pilotage site add') });
    expect(await pool.run(['agent', 'status'], { env: none })).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('no agent of yours'),
    });
  });
});

/** Both passwords begin so. */
function secretsIn(text: string): string[] {
  return text.match(/site-secret/g) ?? [];
}

function filesWithSecrets(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .filter((file) => secretsIn(readFileSync(file, 'latin1')).length > 0);
}

/** Looks at all command lines and environments until it is asked what it saw. */
function watchProcesses(): () => Set<string> {
  const seen = new Set<string>();
  const look = (): void => {
    for (const found of processesWithSecrets()) seen.add(found);
  };
  const timer = setInterval(look, 50);
  onTestFinished(() => clearInterval(timer));
  return () => {
    look();
    clearInterval(timer);
    return seen;
  };
}

function processesWithSecrets(): string[] {
  const files = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => [`/proc/${pid}/cmdline`, `/proc/${pid}/environ`]);
  return files.filter((file) => {
    try {
      const text = readFileSync(file, 'latin1');
      // How the tests make their user.
      return secretsIn(text).length > 0 && !text.includes('chpasswd');
    } catch {
      return false;
    }
  });
}
