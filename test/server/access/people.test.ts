import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Access, createAccess, SESSION_SECONDS } from '../../../src/server/access/access.ts';
import { type Audit, createAudit } from '../../../src/server/access/audit.ts';
import { createGrants, type Grants } from '../../../src/server/access/grants.ts';
import { createLogins, type Logins } from '../../../src/server/access/logins.ts';
import { createPeople, type People } from '../../../src/server/access/people.ts';
import { mayDo, type Principal, usualProject } from '../../../src/server/access/principal.ts';
import { createUserTokens, type UserTokens } from '../../../src/server/access/user-tokens.ts';
import { createUsers, type Users } from '../../../src/server/access/users.ts';
import type { Store } from '../../../src/server/store/store.ts';
import { type OpenedStore, openStores } from '../../support/open-stores.ts';
import { waitUntil } from '../../support/wait-until.ts';

const HERE = '192.0.2.1';
const ROOT: Principal = {
  ...{ name: 'admin', tokenId: 1, scopes: ['admin'], projects: null, address: HERE },
  token: { kind: 'admin', name: 'admin', expiresAt: null },
};

/** One server of a database. */
function serverOn(store: Store, now: () => number) {
  const failures: (string | null)[] = [];
  const audit: Audit = createAudit(store, () => undefined);
  const access: Access = createAccess(store, now);
  const users: Users = createUsers(store, now, { onFailure: (name) => failures.push(name) });
  const parts = { store, access, users, audit };
  const people: People = createPeople(parts);
  const grants: Grants = createGrants(parts);
  const tokens: UserTokens = createUserTokens(parts);
  const logins: Logins = createLogins(parts);
  return { ...parts, people, grants, tokens, logins, failures };
}

describe.each(openStores())('access on %s', (_name, open) => {
  let opened: OpenedStore;
  let server: ReturnType<typeof serverOn>;
  let count = 0;
  const now = 0;
  beforeAll(async () => {
    opened = await open();
    await opened.store.firstAdministrator({ name: 'admin', hash: 'r' });
    server = serverOn(opened.store, () => now);
  });
  afterAll(() => opened.close());
  beforeEach(() => {
    count += 1;
    server.failures.length = 0;
  });
  const named = (name: string) => `${name}-${count}`;
  const PASSWORD = 'correct horse';
  const add = (name: string, role: 'regular' | 'administrator' = 'regular') =>
    server.people.add(ROOT, { name: named(name), role, password: PASSWORD });
  const login = async (name: string) =>
    (await server.logins.login({ user: named(name), password: PASSWORD }, HERE)).token;
  const as = (token: string, on = server) => on.access.authenticate(token, HERE);
  const codeOf = (act: Promise<unknown>) =>
    act.then(
      () => 'done',
      (error: { code?: string }) => error.code ?? String(error),
    );
  const noted = async (action: string, who = 'admin') =>
    (await server.audit.list({ who, action, since: null, until: null, before: null, limit: 1000 })).filter(
      ({ subject }) => subject.endsWith(`-${count}`),
    );

  test('a session of a regular user may do everything but administrate, in the projects of that user', async () => {
    await add('anna');
    const anna = await as(await login('anna'));
    expect(anna).toMatchObject({ name: named('anna'), projects: [], user: { role: 'regular' }, address: HERE });
    for (const scope of ['submit', 'read', 'work', 'front'] as const) expect(mayDo(anna, scope)).toBe(true);
    expect(mayDo(anna, 'admin')).toBe(false);
  });

  test('a session of an administrator may everything, until the administrator is made a regular user', async () => {
    await add('carol', 'administrator');
    const token = await login('carol');
    expect(await as(token)).toMatchObject({ scopes: ['admin'], projects: null });
    await server.people.setRole(ROOT, named('carol'), 'regular');
    expect(await as(token)).toMatchObject({ projects: [], user: { role: 'regular' } });
    expect(mayDo(await as(token), 'admin')).toBe(false);
  });

  test('a token with the scope admin administrates as long as its user does', async () => {
    await add('carol', 'administrator');
    const { token } = await server.tokens.create(ROOT, {
      ...{ name: named('t'), scopes: ['admin', 'read'] as const, user: named('carol') },
    });
    expect(mayDo(await as(token), 'admin')).toBe(true);
    await server.people.setRole(ROOT, named('carol'), 'regular');
    expect(await as(token)).toMatchObject({ scopes: ['read'], projects: [] });
  });

  test('a login with a wrong name, a wrong password and as a CouchDB user is refused alike', async () => {
    await add('anna');
    await server.users.setPassword(named('picas'), PASSWORD);
    const refusal = (user: string, password: string) =>
      server.logins.login({ user: named(user), password }, HERE).catch((error: Error) => error.message);
    const wrong = await refusal('anna', 'not it');
    expect(wrong).toBe('name or password is wrong');
    expect(await refusal('nobody', PASSWORD)).toBe(wrong);
    expect(await refusal('picas', PASSWORD)).toBe(wrong);
    // What was typed in place of a name may be a password: only names that there are become known.
    expect(server.failures).toEqual([named('anna'), null]);
  });

  test('a wrong name takes as long as a wrong password', async () => {
    await add('anna');
    const took = async (user: string) => {
      const begun = performance.now();
      await server.logins.login({ user, password: 'not it' }, HERE).catch(() => undefined);
      return performance.now() - begun;
    };
    const median = async (user: string) => {
      const times: number[] = [];
      for (let i = 0; i < 7; i += 1) times.push(await took(user));
      return times.sort((a, b) => a - b)[3] as number;
    };
    await took('warm up');
    const [there, nowhere] = [await median(named('anna')), await median(named('nobody'))];
    // Hashing takes tens of milliseconds: without it the answer to a wrong name would come in one or two.
    expect(nowhere).toBeGreaterThan(there / 3);
    expect(there).toBeGreaterThan(nowhere / 3);
  });

  test('a logout ends the session that it is said with, and is none for a token', async () => {
    await add('anna');
    const [one, other] = [await login('anna'), await login('anna')];
    await server.logins.logout(await as(one));
    expect(await codeOf(as(one))).toBe('unauthenticated');
    expect(await codeOf(as(other))).toBe('done');
    expect(await codeOf(server.logins.logout(ROOT))).toBe('wrong-state');
  });

  test('a session that is used is made longer, a token is not', async () => {
    await add('anna');
    const { row, token } = await server.access.createToken({
      ...{ name: 's', kind: 'session', user: named('anna'), scopes: [], projects: null },
      expiresInSeconds: SESSION_SECONDS - 2 * 86_400,
    });
    const program = await server.tokens.create(await as(token), {
      ...{ name: named('p'), scopes: ['read'], expiresInSeconds: 1000 },
    });
    await as(program.token);
    const rows = await server.access.list(named('anna'));
    const endOf = (id: number) => rows.find((one) => one.id === id)?.expires_at ?? 0;
    expect(endOf(row.id) - (row.expires_at ?? 0)).toBeGreaterThan(86_400_000);
    expect(endOf(program.row.id)).toBe(program.row.expires_at);
  });

  describe('what is taken away', () => {
    test('is gone at once, on every server of the database', async () => {
      await add('anna');
      await add('bob');
      const other = serverOn(opened.store, () => now);
      const annas = await login('anna');
      const project = named('p');
      await server.grants.createProject(await as(annas), project);
      await server.grants.grant(await as(annas), project, named('bob'));
      const bobs = await login('bob');
      for (const on of [server, other]) expect((await as(bobs, on)).projects).toEqual([project]);
      await server.grants.revoke(await as(annas), project, named('bob'));
      // The clock of the cache stands still: nothing is looked up anew because a second is over.
      expect((await as(bobs)).projects).toEqual([]);
      await waitUntil('the other server knows', async () => (await as(bobs, other)).projects?.length === 0);
      await server.people.remove(ROOT, named('bob'), null);
      expect(await codeOf(as(bobs))).toBe('unauthenticated');
      await waitUntil('the other server knows', async () => (await codeOf(as(bobs, other))) === 'unauthenticated');
    });

    test('ends what is open, on every server of the database, and nothing else', async () => {
      await add('anna');
      await add('bob');
      const other = serverOn(opened.store, () => now);
      const project = named('p');
      await server.grants.createProject(ROOT, project);
      for (const name of ['anna', 'bob']) await server.grants.grant(ROOT, project, named(name));
      const [annas, bobs] = [await login('anna'), await login('bob')];
      const ended: string[] = [];
      const watch = async (name: string, token: string, on: typeof server) => {
        const who = await as(token, on);
        on.access.whileOpen(
          () => on.access.standing(token, who),
          (over) => ended.push(`${name}: ${typeof over === 'string' ? over : over.message}`),
        );
      };
      for (const on of [server, other]) await watch('anna', annas, on);
      await server.grants.createProject(ROOT, named('q'));
      await server.grants.revoke(ROOT, project, named('anna'));
      await waitUntil('it has ended', () => ended.length === 2);
      expect(ended).toEqual(['anna: less', 'anna: less']);
      for (const on of [server, other]) await watch('bob', bobs, on);
      for (const on of [server, other]) await watch('anna', annas, on);
      await server.people.remove(ROOT, named('bob'), null);
      await waitUntil('it has ended', () => ended.length === 4);
      expect(ended[3]).toMatch(/^bob: the login of 'bob-\d+' is over/);
    });

    test('is not remembered from a look that began before', async () => {
      await add('anna');
      const token = await login('anna');
      const [looked, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
      const findToken: Store['findToken'] = async (input) => {
        const found = await opened.store.findToken(input);
        looked.resolve();
        await goOn.promise;
        return found;
      };
      const slow = serverOn({ ...opened.store, findToken }, () => now);
      const early = as(token, slow);
      await looked.promise;
      await slow.people.remove(ROOT, named('anna'), null);
      goOn.resolve();
      await early;
      expect(await codeOf(as(token, slow))).toBe('unauthenticated');
    });
  });

  describe('tokens of a regular user', () => {
    test('are their own, never administrate, and follow the grants', async () => {
      await add('anna');
      await add('bob');
      const anna = await as(await login('anna'));
      const [one, two] = [named('one'), named('two')];
      await server.grants.createProject(ROOT, one);
      await server.grants.createProject(ROOT, two);
      await server.grants.grant(ROOT, one, anna.name);
      const granted = await as(await login('anna'));
      const make = (facts: object) =>
        server.tokens.create(granted, { name: named('t'), scopes: ['submit', 'read'] as const, ...facts });
      expect(await codeOf(make({ scopes: ['admin'] }))).toBe('forbidden');
      expect(await codeOf(make({ user: named('bob') }))).toBe('forbidden');
      expect(await codeOf(make({ projects: [two] }))).toBe('not-found');
      const whole = await make({});
      const limited = await make({ projects: [one] });
      expect(whole.row.user_name).toBe(anna.name);
      await server.grants.grant(ROOT, two, anna.name);
      expect((await as(whole.token)).projects).toEqual([one, two]);
      expect((await as(limited.token)).projects).toEqual([one]);
      await server.grants.revoke(ROOT, one, anna.name);
      expect((await as(whole.token)).projects).toEqual([two]);
      expect((await as(limited.token)).projects).toEqual([]);
      expect((await as(whole.token)).name).toBe(anna.name);
    });

    test('cannot make tokens, projects, grants or passwords: a leaked one does not make itself last', async () => {
      await add('anna');
      const session = await as(await login('anna'));
      await server.grants.createProject(session, named('p'));
      const { token } = await server.tokens.create(await as(await login('anna')), {
        ...{ name: 't', scopes: ['submit', 'read', 'work', 'front'] as const },
      });
      const program = await as(token);
      const acts = [
        server.tokens.create(program, { name: 'x', scopes: ['read'] }),
        server.tokens.list(program),
        server.tokens.revoke(program, program.tokenId),
        server.grants.createProject(program, named('q')),
        server.grants.grant(program, named('p'), 'admin'),
        server.people.setPassword(program, named('anna'), { password: 'another one', current: PASSWORD }),
      ];
      expect(await Promise.all(acts.map(codeOf))).toEqual(acts.map(() => 'forbidden'));
    });

    test('are seen and revoked by their user and by administrators, not by others', async () => {
      await add('anna');
      await add('bob');
      const [anna, bob] = [await as(await login('anna')), await as(await login('bob'))];
      const { row } = await server.tokens.create(anna, { name: named('t'), scopes: ['read'] });
      const ids = async (who: Principal) => (await server.tokens.list(who)).map(({ id }) => id);
      expect(await ids(anna)).toContain(row.id);
      expect(await ids(bob)).not.toContain(row.id);
      expect(await ids(ROOT)).toContain(row.id);
      expect(await codeOf(server.tokens.revoke(bob, row.id))).toBe('not-found');
      expect(await codeOf(server.tokens.revoke(anna, row.id))).toBe('done');
      expect(await noted('token.revoke', anna.name)).toHaveLength(1);
      expect(await noted('token.revoke', bob.name)).toHaveLength(0);
    });

    test('made by an administrator are for whom they are said to be, or nobody', async () => {
      await add('anna');
      const make = (facts: object) => server.tokens.create(ROOT, { name: named('t'), scopes: ['work'], ...facts });
      expect((await make({})).row.user_name).toBeNull();
      expect((await make({ user: named('anna') })).row.user_name).toBe(named('anna'));
      expect(await codeOf(make({ user: named('nobody') }))).toBe('not-found');
      expect(await codeOf(make({ user: named('anna'), scopes: ['admin'] }))).toBe('bad-request');
      // Whoever made a project of that name later would have a token of theirs about.
      expect(await codeOf(make({ projects: [named('not-yet')] }))).toBe('not-found');
      const limited = { ...ROOT, projects: ['default'] };
      expect(await codeOf(server.tokens.create(limited, { name: 't', scopes: ['admin'] }))).toBe('forbidden');
    });
  });

  test('of a project decide its owner and administrators, not its members, nor those who do not see it', async () => {
    for (const name of ['anna', 'bob', 'eve']) await add(name);
    const project = named('p');
    const annas = await login('anna');
    await server.grants.createProject(await as(annas), project);
    await server.grants.grant(await as(annas), project, named('bob'));
    const [anna, bob, eve] = [await as(annas), await as(await login('bob')), await as(await login('eve'))];
    const tries = (who: Principal) =>
      Promise.all([
        codeOf(server.grants.grant(who, project, named('eve'))),
        codeOf(server.grants.revoke(who, project, named('bob'))),
        codeOf(server.grants.transfer(who, project, who.name)),
      ]);
    expect(await tries(bob)).toEqual(['forbidden', 'forbidden', 'forbidden']);
    expect(await tries(eve)).toEqual(['not-found', 'not-found', 'not-found']);
    expect((await server.grants.members(bob, project)).members).toMatchObject([{ user_name: bob.name }]);
    expect(await codeOf(server.grants.members(eve, project))).toBe('not-found');
    expect(await codeOf(server.grants.revoke(anna, project, anna.name))).toBe('wrong-state');
    expect(await codeOf(server.grants.grant(anna, project, named('nobody')))).toBe('not-found');
    expect(await codeOf(server.grants.transfer(ROOT, project, bob.name))).toBe('done');
    expect(await codeOf(server.grants.revoke(await as(await login('bob')), project, anna.name))).toBe('done');
    expect((await as(annas)).projects).toEqual([]);
  });

  test('names that the server gives itself are no projects of a regular user', async () => {
    await add('anna');
    const anna = await as(await login('anna'));
    expect(await codeOf(server.grants.createProject(anna, '@peer/p'))).toBe('bad-request');
    expect(await codeOf(server.grants.createProject(ROOT, '@peer/p'))).toBe('bad-request');
    for (const name of ['pilots', 'p@deleted-1'])
      expect([name, await codeOf(server.grants.createProject(anna, name))]).toEqual([name, 'forbidden']);
  });

  describe('a password', () => {
    test('of one’s own is changed with the one that was; other sessions end, this one does not', async () => {
      await add('anna');
      const [one, other] = [await login('anna'), await login('anna')];
      const change = async (current?: string) =>
        server.people.setPassword(await as(one), named('anna'), { password: 'battery staple', current });
      expect(await codeOf(change())).toBe('bad-request');
      expect(await codeOf(change('not it'))).toBe('forbidden');
      expect(await codeOf(as(other))).toBe('done');
      expect(await change(PASSWORD)).toEqual({ endedSessions: 1 });
      expect(await codeOf(as(one))).toBe('done');
      expect(await codeOf(as(other))).toBe('unauthenticated');
      expect(await codeOf(login('anna'))).toBe('unauthenticated');
    });

    test('of somebody else is changed by administrators alone', async () => {
      await add('anna');
      await add('eve');
      const eve = await as(await login('eve'));
      const change = (who: Principal) => server.people.setPassword(who, named('anna'), { password: 'battery staple' });
      expect(await codeOf(change(eve))).toBe('forbidden');
      expect(await codeOf(change(ROOT))).toBe('done');
      expect(await codeOf(login('anna'))).toBe('unauthenticated');
    });
  });

  test('users are managed by administrators alone, also not with a token for one project', async () => {
    await add('eve');
    const eve = await as(await login('eve'));
    for (const who of [eve, { ...ROOT, projects: ['default'] }]) {
      const acts = [
        server.people.list(who),
        server.people.add(who, { name: named('x') }),
        server.people.setRole(who, named('eve'), 'administrator'),
        server.people.remove(who, named('eve'), null),
      ];
      expect(await Promise.all(acts.map(codeOf))).toEqual(acts.map(() => 'forbidden'));
    }
    expect((await server.people.list(ROOT)).find(({ name }) => name === named('eve'))?.role).toBe('regular');
  });

  test('what was done is written down, with who, by what and from where, and without secrets', async () => {
    await add('anna');
    await server.people.setPassword(ROOT, named('anna'), { password: 'battery staple' });
    await server.people.setRole(ROOT, named('anna'), 'administrator');
    await codeOf(server.people.add(ROOT, { name: named('anna') }));
    const entries = (await noted('user')).map(({ action, how, address, detail }) => [action, how, address, detail]);
    expect(entries).toEqual([
      ['user.role', 'admin token', HERE, '{"role":"administrator","before":"regular"}'],
      ['user.password', 'admin token', HERE, '{}'],
      ['user.add', 'admin token', HERE, '{"role":"regular"}'],
    ]);
    const { token } = await server.tokens.create(ROOT, { name: named('t'), scopes: ['work'] });
    const all = await server.audit.list({
      who: null,
      action: null,
      since: null,
      until: null,
      before: null,
      limit: 1000,
    });
    for (const secret of [token, PASSWORD, 'battery staple']) expect(JSON.stringify(all)).not.toContain(secret);
  });
});

test('where no project is named, a user’s is the only one, or default', () => {
  const user = { name: 'anna', role: 'regular' as const };
  const of = (projects: string[] | null, isUser = true) =>
    usualProject({ ...ROOT, projects, ...(isUser ? { user } : {}) });
  expect(of(null)).toBe('default');
  expect(of([])).toBe('default');
  expect(of(['p'])).toBe('p');
  expect(of(['a', 'default'])).toBe('default');
  expect(() => of(['a', 'b'])).toThrow('say which one with --project');
  expect(of(['a', 'b'], false)).toBe('a');
});
