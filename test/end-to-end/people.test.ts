import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AuditView } from '../../src/ground/protocol/audit.ts';
import type { TokenView } from '../../src/ground/protocol/token.ts';
import type { UserView, WhoAmI } from '../../src/ground/protocol/user.ts';
import { adminToken, raw } from '../support/api.ts';
import { startAtTerminal } from '../support/at-terminal.ts';
import { type Ran, type RunningServer, startServer } from '../support/running-server.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { waitUntil } from '../support/wait-until.ts';

const PASSWORD = 'correct horse';

/** Somebody at a computer of their own, who has the server's address and no file of it. */
function personOn(server: RunningServer, name: string) {
  const home = temporaryDirectory();
  const env = { HOME: home, USER: name, PILOTAGE_SERVER: server.url(), PILOTAGE_DATA: '' };
  const run = (argv: string[], stdin?: string): Promise<Ran> =>
    server.run(argv, { env, cwd: home, ...(stdin === undefined ? {} : { stdin }) });
  const json = <T>(argv: string[]): Promise<T> => server.json<T>(argv, { env, cwd: home });
  const sessions = path.join(home, '.local', 'state', 'pilotage', 'sessions');
  const file = () => path.join(sessions, readdirSync(sessions)[0] ?? '');
  return { home, env, run, json, sessions, file, login: (password = PASSWORD) => run(['login'], `${password}\n`) };
}

const add = async (server: RunningServer, name: string, ...more: string[]) => {
  const { code, stderr } = await server.run(['user', 'add', name, ...more], { stdin: `${PASSWORD}\n` });
  expect([name, code, stderr]).toEqual([name, 0, '']);
};
const did = (server: RunningServer, ...filter: string[]) => server.json<AuditView[]>(['audit', ...filter]);

describe('people of a server', () => {
  let server: RunningServer;
  beforeAll(async () => {
    server = await startServer();
  });
  afterAll(() => server[Symbol.asyncDispose]());

  test('the first start makes an administrator, who gets a password with the token of the data directory', async () => {
    expect(await server.json<UserView[]>(['user', 'list'])).toMatchObject([
      { name: 'admin', role: 'administrator', hasPassword: false, projects: ['default'] },
    ]);
    const admin = personOn(server, 'admin');
    expect(await admin.login()).toMatchObject({ code: 2, stderr: 'pilotage: name or password is wrong\n' });
    expect(await server.run(['user', 'password', 'admin'], { stdin: `${PASSWORD}\n` })).toMatchObject({ code: 0 });
    expect(await admin.login()).toMatchObject({ code: 0 });
    expect(await admin.json<WhoAmI>(['whoami'])).toMatchObject({
      user: 'admin',
      role: 'administrator',
      projects: null,
    });
    const removal = await server.run(['user', 'remove', 'admin']);
    expect(removal).toMatchObject({ code: 1, stderr: expect.stringContaining('the last administrator') });
    expect((await server.run(['user', 'role', 'admin', 'regular'])).stderr).toContain('make somebody else one first');
  });

  test('a login is kept for its user alone, outlives a kill of the server, and ends with the logout', async () => {
    await add(server, 'anna');
    const anna = personOn(server, 'anna');
    expect((await anna.run(['status'])).stderr).toContain("Log in with 'pilotage login'");
    expect((await anna.login()).stdout).toContain(`logged in to ${server.url()} as anna (regular)`);
    expect([statSync(anna.file()).mode & 0o777, statSync(anna.sessions).mode & 0o777]).toEqual([0o600, 0o700]);
    const token = readFileSync(anna.file(), 'utf8').trim();
    await server.kill('SIGKILL');
    await server.restart();
    expect(await anna.json<WhoAmI>(['whoami'])).toMatchObject({ user: 'anna', how: 'session', projects: [] });
    for (const name of readdirSync(server.data).filter((file) => file.startsWith('pilotage.db')))
      expect(readFileSync(path.join(server.data, name)).includes(token)).toBe(false);
    // A second login replaces the first: what is not in the file is good for nobody.
    await anna.login();
    expect((await raw(server, 'GET /api/v1/whoami', { token })).status).toBe(401);
    const second = readFileSync(anna.file(), 'utf8').trim();
    expect(await anna.run(['logout'])).toMatchObject({ code: 0 });
    expect(existsSync(path.join(anna.sessions, encodeURIComponent(server.url())))).toBe(false);
    expect((await raw(server, 'GET /api/v1/whoami', { token: second })).status).toBe(401);
    expect((await anna.run(['logout'])).stderr).toContain('you are not logged in');
  });

  test('the password is typed unseen at a terminal, or comes from a file that only its owner can read', async () => {
    await add(server, 'tom');
    const tom = personOn(server, 'tom');
    const typed = startAtTerminal(['login'], { cwd: tom.home, env: tom.env });
    await waitUntil('the password is asked for', () => typed.screen().includes('password of tom'));
    typed.type(`${PASSWORD}\r`);
    expect(await typed.done).toBe(0);
    expect(typed.screen()).toContain('logged in');
    expect(typed.screen()).not.toContain(PASSWORD);
    const file = path.join(tom.home, 'password');
    writeFileSync(file, `${PASSWORD}\n`, { mode: 0o644 });
    expect((await tom.run(['login', '--password-file', file])).stderr).toContain('chmod 600');
    writeFileSync(path.join(tom.home, 'tight'), PASSWORD, { mode: 0o600 });
    expect(await tom.run(['login', 'tom', '--password-file', 'tight'])).toMatchObject({ code: 0 });
    expect((await tom.run(['login'], '')).stderr).toContain('no password of tom');
  });

  test('whoever logged in to the server of their own computer acts as that user, until they log out', async () => {
    await add(server, 'olga');
    const home = temporaryDirectory();
    const env = { HOME: home };
    const whoami = () => server.json<WhoAmI>(['whoami'], { env });
    expect(await whoami()).toMatchObject({ user: null, how: 'admin' });
    await server.run(['login', 'olga'], { env, stdin: `${PASSWORD}\n` });
    expect(await whoami()).toMatchObject({ user: 'olga', how: 'session' });
    expect((await server.run(['user', 'list'], { env })).code).toBe(2);
    // The token that is named goes first.
    const named = ['--token-file', path.join(server.data, 'admin-token')];
    expect(await server.json<WhoAmI>([...named, 'whoami'], { env })).toMatchObject({ how: 'admin' });
    await server.run(['logout'], { env });
    expect(await whoami()).toMatchObject({ how: 'admin' });
  });

  test('a project is its owner’s, those’ whom the owner lets in, and nobody else’s', async () => {
    for (const name of ['ann', 'ben', 'eve']) await add(server, name);
    const [ann, ben, eve] = [personOn(server, 'ann'), personOn(server, 'ben'), personOn(server, 'eve')];
    for (const one of [ann, ben, eve]) await one.login();
    expect(await ann.run(['project', 'create', 'water'])).toMatchObject({ code: 0 });
    const sent = await ann.json<{ id: number }>(['submit', '--project', 'water', '--', 'true']);
    const id = String(sent.id);
    expect((await ann.run(['submit', '--', 'true'])).stderr).toContain(
      "with --project or PILOTAGE_PROJECT, as 'water'",
    );
    expect(await ben.run(['task', id])).toMatchObject({ code: 1, stderr: expect.stringContaining('there is no') });
    expect((await ben.run(['project', 'grant', 'water', 'ben'])).stderr).toContain("no project 'water'");
    expect(await ann.run(['project', 'grant', 'water', 'ben'])).toMatchObject({ code: 0 });
    expect(await ben.run(['task', id])).toMatchObject({ code: 0 });
    expect((await ben.run(['project', 'grant', 'water', 'eve'])).stderr).toContain("belongs to 'ann'");
    expect((await ann.run(['project', 'members', 'water'])).stdout).toMatch(/ann +owner[\s\S]*ben +member +ann/);
    expect((await ann.run(['project', 'revoke', 'water', 'ann'])).stderr).toContain('pilotage project transfer');
    expect(await ann.run(['project', 'transfer', 'water', 'ben'])).toMatchObject({ code: 0 });
    expect((await ann.run(['project', 'revoke', 'water', 'ben'])).stderr).toContain("belongs to 'ben'");
    expect(await ben.run(['project', 'revoke', 'water', 'ann'])).toMatchObject({ code: 0 });
    expect((await ann.run(['task', id])).stderr).toContain('there is no');
    expect((await eve.run(['tasks'])).stdout).not.toContain(id);
    // Administrators see all of it.
    expect((await server.run(['task', id])).code).toBe(0);
    expect(await ben.run(['cancel', id])).toMatchObject({ code: 0 });
    const done = (await did(server, '--user', 'ben')).filter(({ outcome }) => outcome === 'done');
    expect(done).toMatchObject([
      { action: 'login', how: 'password', address: '127.0.0.1', outcome: 'done' },
      { action: 'project.revoke', subject: 'water', detail: { user: 'ann' } },
      { action: 'task.cancel', subject: id, detail: { changed: 1 } },
    ]);
  });

  test('a token for a program does what its user may, and no more', async () => {
    await add(server, 'paul');
    const paul = personOn(server, 'paul');
    await paul.login();
    await paul.run(['project', 'create', 'ice']);
    const make = (...words: string[]) => paul.run(['token', 'create', '--name', 'robot', ...words]);
    expect((await make('--scope', 'admin', '--to', 'no')).stderr).toContain('regular user');
    expect(existsSync(path.join(paul.home, 'no'))).toBe(false);
    const words = ['--scope', 'submit', '--scope', 'work', '--expires', '30d', '--to', 'robot'];
    expect(await make(...words)).toMatchObject({ code: 0 });
    const robot = (...argv: string[]) => paul.run([...argv, '--token-file', 'robot']);
    expect(await robot('submit', '--project', 'ice', '--', 'true')).toMatchObject({ code: 0 });
    expect(await robot('worker', '--slots', '1', '--until-idle', '1s')).toMatchObject({ code: 0 });
    expect((await robot('project', 'create', 'more')).stderr).toContain('a person does this');
    expect((await robot('whoami')).stdout).toMatch(/^paul \(regular\) at [^\n]*\nby {6}the token 'robot'/);
    const list = await paul.json<TokenView[]>(['token', 'list']);
    expect(list.map(({ name, kind, user }) => [name, kind, user])).toEqual([
      ['paul', 'session', 'paul'],
      ['robot', 'token', 'paul'],
    ]);
    expect(await paul.run(['token', 'revoke', String(list[1]?.id)])).toMatchObject({ code: 0 });
    expect((await robot('status')).stderr).toContain("the token 'robot' was revoked");
  });

  test('a new password ends the other logins, a removal all of them, and the tokens', async () => {
    for (const name of ['rob', 'sue']) await add(server, name);
    const [here, there] = [personOn(server, 'rob'), personOn(server, 'rob')];
    for (const one of [here, there]) await one.login();
    expect((await here.run(['user', 'password'], 'not it\nbattery staple\n')).stderr).toContain('not the current');
    const changed = await here.run(['user', 'password'], `${PASSWORD}\nbattery staple\n`);
    expect(changed).toMatchObject({ code: 0, stdout: 'user rob has a new password; 1 other login ended\n' });
    expect((await there.run(['status'])).stderr).toContain("log in again with 'pilotage login'");
    expect(await here.run(['status'])).toMatchObject({ code: 0 });
    await here.run(['project', 'create', 'fire']);
    await here.run(['token', 'create', '--name', 'robot', '--scope', 'read', '--to', 'robot']);
    const removal = await server.run(['user', 'remove', 'rob']);
    expect(removal).toMatchObject({ code: 1, stderr: expect.stringContaining("owns 'fire'") });
    expect(await here.run(['status'])).toMatchObject({ code: 0 });
    const gone = await server.run(['user', 'remove', 'rob', '--transfer-to', 'sue']);
    expect(gone).toMatchObject({ code: 0, stdout: 'user rob is removed; sue owns fire now\n' });
    expect((await here.run(['status'])).code).toBe(2);
    expect((await here.run(['status', '--token-file', 'robot'])).code).toBe(2);
    expect((await there.login('battery staple')).stderr).toContain('name or password is wrong');
    expect(await server.json<UserView[]>(['user', 'list'])).toContainEqual(
      expect.objectContaining({ name: 'sue', projects: ['fire'] }),
    );
  });

  test('guessing is slowed down, told alike for names that are there and that are not, and written down in few lines', async () => {
    await add(server, 'vic');
    const guess = async (user: string, password: string) => {
      const body = JSON.stringify({ user, password });
      const { status, text, headers } = await raw(server, 'POST /api/v1/login', { body });
      return { status, text: text.replaceAll(user, 'USER'), retry: headers.get('retry-after') };
    };
    const many = (user: string) => Promise.all(Array.from({ length: 20 }, (_, i) => guess(user, `guess ${i}`)));
    const [there, nowhere] = [await many('vic'), await many('vox')];
    expect(there).toEqual(nowhere);
    expect(there[0]).toMatchObject({ status: 401, retry: null });
    const begun = performance.now();
    const [slowed, alike] = await Promise.all([guess('vic', 'another'), guess('vox', 'another')]);
    expect(performance.now() - begun).toBeGreaterThan(900);
    expect(slowed).toMatchObject({ status: 429, retry: expect.stringMatching(/^\d+$/) });
    expect(slowed.text.replace(/\d+/g, '')).toBe(alike.text.replace(/\d+/g, ''));
    // The right password is let in all the same.
    expect((await guess('vic', PASSWORD)).status).toBe(200);
    const failed = await waitUntil('the failures are written down', async () => {
      const entries = (await did(server, '--action', 'login')).filter(({ outcome }) => outcome === 'refused');
      return entries.some(({ who }) => who === 'vic') && entries;
    });
    expect(failed.length).toBeLessThan(10);
    expect(failed.map(({ who }) => who)).not.toContain('vox');
  });

  test('what only an administrator may is refused to others, and that they tried is written down', async () => {
    await add(server, 'mia');
    const mia = personOn(server, 'mia');
    await mia.login();
    for (const words of [['user', 'list'], ['audit'], ['stop'], ['workers', 'stop', '--all']]) {
      const { code, stderr } = await mia.run(words);
      expect([words, code, stderr]).toEqual([words, 2, expect.stringContaining("'mia' is a regular user")]);
    }
    await waitUntil('it is written down', async () => {
      const tried = (await did(server, '--action', 'forbidden', '--user', 'mia')).map(({ subject }) => subject);
      return tried.includes('POST /stop') || tried.includes('(several)');
    });
  });

  test('the log is told by who, what and when, the newest last, and as many as are wanted', async () => {
    const all = await did(server, '--limit', '1000');
    expect(all.length).toBeGreaterThan(20);
    expect(all.map(({ id }) => id)).toEqual(all.map(({ id }) => id).sort((a, b) => a - b));
    expect((await did(server, '--limit', '3')).map(({ id }) => id)).toEqual(all.slice(-3).map(({ id }) => id));
    const added = await did(server, '--action', 'user.add', '--limit', '1000');
    expect(added.map(({ subject }) => subject)).toContain('anna');
    expect(added.every(({ who, how }) => who === 'admin' && how === 'admin token')).toBe(true);
    expect(await did(server, '--until', '1d')).toEqual([]);
    expect((await did(server, '--since', '1d', '--limit', '1000')).length).toBe(all.length);
    expect((await server.run(['audit', '--since', 'sometime'])).stderr).toContain("'2h' for two hours ago");
    const texts = JSON.stringify(all);
    for (const secret of [PASSWORD, 'battery staple', adminToken(server)]) expect(texts).not.toContain(secret);
  });
});

test('a server is stopped by its administrator, in order, and goes on where it was', async () => {
  const server = await startServer();
  try {
    const sent = await server.json<{ id: number }>(['submit', '--', 'true']);
    const { pid } = JSON.parse(readFileSync(path.join(server.data, 'server.json'), 'utf8')) as { pid: number };
    expect(await server.json(['stop'])).toMatchObject({ pid, ended: true });
    expect(existsSync(path.join(server.data, 'server.json'))).toBe(false);
    expect((await server.run(['status'])).code).toBe(3);
    await server.restart();
    expect(await server.run(['task', String(sent.id)])).toMatchObject({ code: 0 });
    expect((await did(server, '--action', 'server')).map(({ subject }) => subject)).toEqual([
      expect.stringContaining(`process ${pid} on`),
    ]);
  } finally {
    await server[Symbol.asyncDispose]();
  }
});
