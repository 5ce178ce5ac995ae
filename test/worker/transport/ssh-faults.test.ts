import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { mayHaveRun } from '../../../src/worker/transport/failures.ts';
import { type CuttingProxy, startCuttingProxy } from '../../support/cutting-proxy.ts';
import { pidsOf } from '../../support/processes.ts';
import { openTransport } from '../../support/ssh-client.ts';
import { clientConfig } from '../../support/ssh-config.ts';
import { missingSshd, type SshServer, skipWithoutSshd, startSshServer } from '../../support/ssh-server.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { waitUntil } from '../../support/wait-until.ts';

let server: SshServer;
beforeAll(async () => {
  if (missingSshd() === undefined) server = await startSshServer();
});
afterAll(() => server?.stop());
beforeEach(({ skip }) => skipWithoutSshd(skip));

async function proxied(): Promise<CuttingProxy & { port: number }> {
  const proxy = await startCuttingProxy(`http://127.0.0.1:${server.port}`);
  onTestFinished(() => proxy.close());
  return Object.assign(proxy, { port: Number(new URL(proxy.url).port) });
}

/** An ssh that was started with this in its command line (the control directory names its transport). */
function sshProcesses(part: string): number[] {
  return pidsOf((line) => line.startsWith('ssh\0') && line.includes(part));
}

test('a hundred commands at once make one connection', async () => {
  const before = server.logins();
  const transport = openTransport(server);
  await Promise.all(Array.from({ length: 100 }, () => transport.run('sleep 0.05')));
  expect(server.logins() - before).toBe(1);
  expect(transport.stats()).toEqual({ connections: 1, commands: 100 });
});

test('without multiplexing a hundred commands at once make few', async () => {
  const before = server.logins();
  const transport = openTransport(server, { multiplex: false });
  await Promise.all(Array.from({ length: 100 }, () => transport.run('sleep 0.02')));
  expect(server.logins() - before).toBeLessThanOrEqual(4);
});

test('a server that takes few sessions on a connection is waited for', async () => {
  const narrow = await startSshServer({ config: ['MaxSessions 2'] });
  onTestFinished(() => narrow.stop());
  const transport = openTransport(narrow);
  const run = async (at: number): Promise<string> => (await transport.run(`sleep 0.1; echo ${at}`)).stdout;
  const numbers = Array.from({ length: 20 }, (_, at) => at);
  expect(await Promise.all(numbers.map(run))).toEqual(numbers.map((at) => `${at}\n`));
  expect(narrow.logins()).toBe(1);
});

test('a server that takes no session is told as that', async () => {
  const closed = await startSshServer({ config: ['MaxSessions 0'] });
  onTestFinished(() => closed.stop());
  await expect(openTransport(closed).run('echo')).rejects.toMatchObject({
    code: 'unreachable',
    message: expect.stringContaining('MaxSessions'),
  });
});

test.each([
  ['a port where nobody listens', { port: 1 }, 'refused', /nothing listens there/],
  ['a name that nobody knows', { lines: [] }, 'name-unknown', /no host of that name/],
])('%s is told as that, after some tries', async (_, client, why, message) => {
  const machine = why === 'name-unknown' ? 'no-such-host.invalid' : 'site';
  const transport = openTransport(server, { client, machine });
  const error = await transport.run('touch /tmp/ran').catch((thrown) => thrown);
  expect(error).toMatchObject({
    code: 'unreachable',
    message: expect.stringMatching(message),
    details: { machine, why },
  });
  expect(mayHaveRun(error)).toBe(false);
});

test.each([true, false])(
  'a machine that takes connections and stays silent is given up in time (multiplexed: %s)',
  async (multiplex) => {
    const silent = createServer(() => {});
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void silent.close());
    const { port } = silent.address() as { port: number };
    const transport = openTransport(server, { client: { port }, timeoutMs: 1000, tries: 1, multiplex });
    await expect(transport.connect()).rejects.toMatchObject({ code: 'unreachable', details: { why: 'timed-out' } });
  },
);

test('a machine that comes back while it is tried is reached', async () => {
  const returning = await startSshServer();
  onTestFinished(() => returning.stop());
  await returning.kill();
  const transport = openTransport(returning, { tries: 8 });
  const result = transport.run('echo back');
  await returning.restart();
  expect((await result).stdout).toBe('back\n');
});

test.each([true, false])(
  'a command whose connection is lost may have run, and the next connects anew (multiplexed: %s)',
  async (multiplex) => {
    const proxy = await proxied();
    const transport = openTransport(server, { client: { port: proxy.port }, multiplex });
    const command = `sleep ${multiplex ? 64.25 : 65.25}`;
    const running = transport.run(command).catch((thrown) => thrown);
    await waitUntil('it runs', () => server.running(command) === 1);
    const stirred = await cutNow(proxy, () => transport.run('echo').catch(() => {}));
    const error = await running;
    expect(error).toMatchObject({ code: 'connection-lost', message: expect.stringContaining("'site'") });
    expect(mayHaveRun(error)).toBe(true);
    // While what stirred the old connection is still at work on the new one, a further command may open a third.
    await stirred.over;
    expect((await transport.run('echo next')).stdout).toBe('next\n');
    expect(transport.stats().connections).toBe(2);
  },
);

/** Without multiplexing the connection may be silent: then whatever comes from there next is cut off. */
async function cutNow(proxy: CuttingProxy, stir: () => Promise<unknown>): Promise<{ readonly over: Promise<unknown> }> {
  proxy.cutAfter(0, 'down');
  proxy.cutAfter(0, 'up');
  const over = stir();
  await waitUntil('it is cut', () => proxy.cuts > 0);
  return { over };
}

test('a connection that has gone dead is noticed', async () => {
  const frozen = await startSshServer();
  onTestFinished(() => frozen.stop());
  const transport = openTransport(frozen, { timeoutMs: 1000, tries: 1 });
  await transport.connect();
  frozen.pause();
  const error = await transport.run('touch /tmp/ran').catch((thrown) => thrown);
  expect(error).toMatchObject({ code: expect.stringMatching(/connection-lost|unreachable/) });
  await expect(transport.run('echo')).rejects.toMatchObject({ code: 'unreachable' });
  frozen.resume();
  expect((await transport.run('echo alive')).stdout).toBe('alive\n');
});

test('a master that is killed is replaced by one, also for many commands at once', async () => {
  const directory = temporaryDirectory();
  const controlDirectory = path.join(directory, 'c');
  const transport = openTransport(server, { controlDirectory });
  await transport.run('echo');
  const before = server.logins();
  const masters = (): number[] =>
    sshProcesses(controlDirectory).filter((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('\0-M\0'));
  expect(masters()).toHaveLength(1);
  process.kill(masters()[0]!, 'SIGKILL');
  await waitUntil('its sessions are gone', () => sshProcesses(controlDirectory).length === 0);
  const results = await Promise.all([1, 2, 3, 4, 5, 6].map((at) => transport.run(`echo ${at}`)));
  expect(results.map(({ stdout }) => stdout)).toEqual([1, 2, 3, 4, 5, 6].map((at) => `${at}\n`));
  expect(server.logins() - before).toBe(1);
  expect(masters()).toHaveLength(1);
  await transport.close();
  expect(sshProcesses(controlDirectory)).toEqual([]);
  expect(readdirSync(controlDirectory)).toEqual([]);
});

test.each([true, false])('a transfer that is cut goes on where it was (multiplexed: %s)', async (multiplex) => {
  const proxy = await proxied();
  const transport = openTransport(server, { client: { port: proxy.port }, multiplex });
  const size = 24 * 1024 * 1024;
  const content = randomBytes(size);
  const local = temporaryDirectory();
  writeFileSync(path.join(local, 'up'), content);
  await transport.connect();
  const sent = proxy.up;
  proxy.cutAfter(16 * 1024 * 1024, 'up');
  await transport.put(path.join(local, 'up'), '/tmp/resumed');
  expect(proxy.cuts).toBe(1);
  expect(proxy.up - sent).toBeLessThan(size * 1.3);
  expect(sha256(readFileSync(server.seen('/tmp/resumed')))).toBe(sha256(content));
  const received = proxy.down;
  proxy.cutAfter(16 * 1024 * 1024, 'down');
  await transport.get('/tmp/resumed', path.join(local, 'down'));
  expect(proxy.cuts).toBe(2);
  expect(proxy.down - received).toBeLessThan(size * 1.3);
  expect(sha256(readFileSync(path.join(local, 'down')))).toBe(sha256(content));
  expect(readdirSync(local).sort()).toEqual(['down', 'up']);
  expect(readdirSync(server.seen('/tmp')).filter((name) => name.endsWith('.part'))).toEqual([]);
});

test('a machine that goes down in the middle of a transfer and comes back gets the rest', async () => {
  const machine = await startSshServer();
  onTestFinished(() => machine.stop());
  const local = temporaryDirectory();
  const content = randomBytes(64 * 1024 * 1024);
  writeFileSync(path.join(local, 'up'), content);
  const transport = openTransport(machine, { tries: 8 });
  const put = transport.put(path.join(local, 'up'), '/tmp/file');
  await waitUntil('it is under way', () => readdirSync(machine.seen('/tmp')).length > 0);
  await machine.kill();
  expect(readdirSync(machine.seen('/tmp'))).not.toContain('file');
  await machine.restart();
  await put;
  expect(sha256(readFileSync(machine.seen('/tmp/file')))).toBe(sha256(content));
});

test('a machine that goes down in the middle of a transfer for good ends it', async () => {
  const machine = await startSshServer();
  onTestFinished(() => machine.stop());
  const local = temporaryDirectory();
  await openTransport(machine).run('head -c 200000000 /dev/zero >/tmp/large');
  const transport = openTransport(machine, { tries: 2 });
  const got = transport.get('/tmp/large', path.join(local, 'down')).catch((thrown) => thrown);
  await waitUntil('it is under way', () => readdirSync(local).length > 0);
  await machine.kill();
  expect(await got).toMatchObject({ code: 'unreachable' });
  expect(readdirSync(local)).toEqual([]);
});

test('what arrives changed is not taken', async () => {
  const local = temporaryDirectory({ up: 'content' });
  const directory = '/tmp/broken-tools';
  const transport = openTransport(server, {});
  // A machine whose digests are wrong stands for one whose disk is.
  await transport.run(
    `mkdir ${directory}; printf '#!/bin/sh\\necho ${'0'.repeat(64)}\\n' >${directory}/sha256sum; chmod 755 ${directory}/sha256sum; echo 'PATH=${directory}:$PATH' >~/.bashrc`,
  );
  const broken = openTransport(server);
  onTestFinished(async () => void (await transport.run('rm ~/.bashrc')));
  await expect(broken.put(path.join(local, 'up'), '/tmp/changed')).rejects.toMatchObject({ code: 'digest-mismatch' });
  await expect(broken.get(`${directory}/sha256sum`, path.join(local, 'down'))).rejects.toMatchObject({
    code: 'digest-mismatch',
  });
  expect(readdirSync(local)).toEqual(['up']);
  expect(readdirSync(server.seen('/tmp'))).not.toContain('changed');
});

test('half a GiB goes through without being held in memory', async () => {
  const transport = openTransport(server);
  const local = temporaryDirectory();
  const size = 512 * 1024 * 1024;
  await transport.run(`dd if=/dev/zero of=/tmp/huge bs=1 count=0 seek=${size}`);
  let peak = 0;
  const watch = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage().rss);
  }, 20);
  const before = process.memoryUsage().rss;
  await transport.get('/tmp/huge', path.join(local, 'huge'));
  await transport.put(path.join(local, 'huge'), '/tmp/huge-again');
  clearInterval(watch);
  await transport.run('rm /tmp/huge /tmp/huge-again');
  expect(peak - before).toBeLessThan(200 * 1024 * 1024);
});

test('when we are killed the connection ends with us', async () => {
  const directory = temporaryDirectory();
  const options = {
    machine: 'site',
    sshConfig: clientConfig(server, directory),
    controlDirectory: path.join(directory, 'c'),
  };
  const program = path.join(import.meta.dirname, '../../support/ssh-client-process.ts');
  const child = spawn(process.execPath, ['--no-warnings', program, JSON.stringify(options)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  expect(sshProcesses(options.controlDirectory).length).toBeGreaterThan(0);
  child.kill('SIGKILL');
  await waitUntil('its ssh is gone', () => sshProcesses(options.controlDirectory).length === 0);
});

test('names and users that ssh would read as options are refused', () => {
  expect(() => openTransport(server, { machine: '-oProxyCommand=touch /tmp/ran' })).toThrow(/no name of a machine/);
  expect(() => openTransport(server, { user: 'a b' })).toThrow(/no name of a user/);
  expect(() => openTransport(server, { controlDirectory: `/tmp/${'long'.repeat(30)}` })).toThrow(
    /too long for sockets/,
  );
});

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
