import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { passwordMark, sha256 } from '../../../src/server/store/secrets.ts';
import type { Store } from '../../../src/server/store/store.ts';
import type { AuditEntry } from '../../../src/server/store/verbs/audit.ts';
import type { Role } from '../../../src/server/store/verbs/users.ts';
import { LEASE, type OpenedStore, openStores } from '../../support/open-stores.ts';

const YEAR_MS = 365 * 86_400_000;

describe.each(openStores())('people on %s', (_name, open) => {
  let opened: OpenedStore;
  let store: Store;
  beforeAll(async () => {
    opened = await open();
    store = opened.store;
  });
  afterAll(() => opened.close());

  let mark = '';
  let count = 0;
  /** Names of their own for each test. */
  const named = (name: string) => `${name}${count}`;
  beforeEach(() => {
    count += 1;
    mark = randomBytes(4).toString('hex');
  });

  const entry = (action: string, over: Partial<AuditEntry> = {}): AuditEntry => ({
    who: `root-${mark}`,
    how: 'admin token',
    address: null,
    action,
    subject: 's',
    detail: '{}',
    outcome: 'done',
    ...over,
  });
  const filter = { who: null, action: null, since: null, until: null, before: null, limit: 100 };
  const written = async () => (await store.listAudit({ ...filter, who: `root-${mark}` })).map(({ action }) => action);
  const add = (name: string, role: Role = 'regular', passwordHash: string | null = 'hash') =>
    store.addPerson({ name, role, passwordHash, hash: 'r', audit: entry('user.add') });
  const token = async (
    user: string | null,
    kind: 'token' | 'session' = 'token',
    expiresInMs: number | null = YEAR_MS,
  ) => {
    const hash = sha256(randomBytes(16).toString('hex'));
    const made = { name: 't', kind, user, hash, scopes: '["submit"]', projects: null, expiresInMs };
    return { hash, row: await store.createToken(made) };
  };
  const mayOf = async (hash: string) => (await store.findToken({ hash }))?.user;
  const project = async (name: string, owner: string) => (await store.createProject({ name, owner })).id;
  const audit = () => entry('x');
  const register = async (tokenId: number, projects: number[] | null) => {
    const session = randomBytes(8).toString('hex');
    await store.registerWorker({
      ...{
        session,
        secretHash: 's',
        tokenId,
        name: session,
        host: 'h',
        pid: 1,
        zone: null,
        share: null,
        version: '0',
      },
      ...{ kinds: ['command'], total: '{"cpus":1,"memory":0,"gpus":0,"named":{}}', labels: '{}', projects },
      ...{ remainingSeconds: null, replaces: null, lease: LEASE },
    });
    return session;
  };
  const projectsOf = async (session: string) => (await store.findWorker(session))?.projects;

  describe('the first administrator', () => {
    test('is made once, without a password, and nobody of that name is made more than they are', async () => {
      const fresh = await open();
      try {
        await fresh.store.putUser({ name: 'admin', passwordHash: 'h', roles: '["_admin"]', fields: '{}', hash: 'r' });
        expect(await fresh.store.firstAdministrator({ name: 'admin', hash: 'r' })).toBe('taken');
        expect(await fresh.store.findUser({ name: 'admin' })).toMatchObject({ role: null, password_hash: 'h' });
        expect(await fresh.store.firstAdministrator({ name: 'first', hash: 'r' })).toBe('made');
        expect(await fresh.store.findUser({ name: 'first' })).toMatchObject({
          role: 'administrator',
          password_hash: null,
        });
        expect(await fresh.store.firstAdministrator({ name: 'second', hash: 'r' })).toBe('there');
        expect(await fresh.store.findUser({ name: 'second' })).toBeNull();
      } finally {
        await fresh.close();
      }
    });

    test('is made once, also where servers start together', async () => {
      const fresh = await open();
      try {
        const starts = [1, 2, 3].map(() => fresh.store.firstAdministrator({ name: 'a', hash: 'r' }));
        expect((await Promise.all(starts)).sort()).toEqual(['made', 'there', 'there']);
      } finally {
        await fresh.close();
      }
    });

    test('is the last one until there is another: not removed, not made a regular user', async () => {
      const fresh = await open();
      try {
        await fresh.store.firstAdministrator({ name: 'a', hash: 'r' });
        expect(await fresh.store.setRole({ name: 'a', role: 'regular' })).toBe('last-administrator');
        expect(await fresh.store.removePerson({ name: 'a', heir: null })).toEqual({ kind: 'last-administrator' });
        await fresh.store.addPerson({ name: 'b', role: 'administrator', passwordHash: null, hash: 'r' });
        // Of two who go at once one stays.
        const results = await Promise.all([
          fresh.store.setRole({ name: 'a', role: 'regular' }),
          fresh.store.removePerson({ name: 'b', heir: null }).then(({ kind }) => kind),
        ]);
        expect(results.filter((result) => result === 'last-administrator')).toHaveLength(1);
        const left = (await fresh.store.listUsers()).filter(({ role }) => role === 'administrator');
        expect(left).toHaveLength(1);
      } finally {
        await fresh.close();
      }
    });
  });

  test('a name is somebody once, and one of the CouchDB face is told apart', async () => {
    expect(await add(named('anna'))).toBe('added');
    expect(await add(named('anna'), 'administrator')).toBe('there');
    expect(await store.findUser({ name: named('anna') })).toMatchObject({ role: 'regular' });
    await store.putUser({ name: named('picas'), passwordHash: 'h', roles: '[]', fields: '{}', hash: 'r' });
    expect(await add(named('picas'))).toBe('couchdb');
    expect(await store.setRole({ name: named('picas'), role: 'regular' })).toBe('done');
    expect(await store.findUser({ name: named('picas') })).toMatchObject({ role: 'regular', password_hash: 'h' });
    expect(await store.setRole({ name: named('nobody'), role: 'regular' })).toBe('unknown');
  });

  test('what the CouchDB face writes of a user changes no role, and removes nobody who has one', async () => {
    await add(named('anna'));
    const user = { name: named('anna'), passwordHash: 'h', roles: '["_admin","administrator"]', hash: 'r' };
    await store.putUser({ ...user, fields: '{"role":"administrator"}' });
    expect(await store.findUser({ name: named('anna') })).toMatchObject({ role: 'regular' });
    expect(await store.removeUser({ name: named('anna') })).toBe(false);
    await store.putUser({ ...user, name: named('new'), fields: '{}' });
    expect(await store.findUser({ name: named('new') })).toMatchObject({ role: null });
    expect(await store.removeUser({ name: named('new') })).toBe(true);
  });

  describe('a token of a user', () => {
    test('says what its user may do now', async () => {
      const anna = named('anna');
      await add(anna);
      const { hash } = await token(anna);
      expect(await mayOf(hash)).toEqual({ role: 'regular', projects: [] });
      const own = await project(named('own'), anna);
      const other = await project(named('other'), 'somebody');
      expect(await mayOf(hash)).toEqual({ role: 'regular', projects: [named('own')] });
      await store.grantProject({ projectId: other, user: anna, by: 'root' });
      expect((await mayOf(hash))?.projects).toEqual([named('other'), named('own')]);
      await store.revokeProject({ projectId: other, user: anna });
      expect((await mayOf(hash))?.projects).toEqual([named('own')]);
      await store.setRole({ name: anna, role: 'administrator' });
      expect(await mayOf(hash)).toEqual({ role: 'administrator', projects: null });
      expect(own).toBeGreaterThan(0);
    });

    test('is made for users alone, and a login with a password that was changed meanwhile is none', async () => {
      expect((await token(named('nobody'))).row).toBeNull();
      await store.putUser({ name: named('picas'), passwordHash: 'h', roles: '[]', fields: '{}', hash: 'r' });
      expect((await token(named('picas'))).row).toBeNull();
      await add(named('anna'), 'regular', 'new hash');
      const login = { name: 'a', kind: 'session' as const, user: named('anna'), scopes: '[]', projects: null };
      const made = (passwordMark: string, hash: string) =>
        store.createToken({ ...login, hash: sha256(mark + hash), expiresInMs: 1000, passwordMark });
      expect(await made(sha256('old hash'), '1')).toBeNull();
      expect(await made(sha256('new hash'), '2')).toMatchObject({ kind: 'session', user_name: named('anna') });
    });

    test('is listed and revoked as that of its user', async () => {
      await add(named('anna'));
      await add(named('bob'));
      const annas = (await token(named('anna'))).row?.id as number;
      const bobs = (await token(named('bob'))).row?.id as number;
      const nobodys = (await token(null)).row?.id as number;
      expect((await store.listTokens({ user: named('anna') })).map(({ id }) => id)).toEqual([annas]);
      const all = (await store.listTokens({ user: null })).map(({ id }) => id);
      expect(all).toEqual(expect.arrayContaining([annas, bobs, nobodys]));
      expect(await store.revokeToken({ id: bobs, user: named('anna'), audit: entry('token.revoke') })).toBeNull();
      expect(await written()).not.toContain('token.revoke');
      const revoked = await store.revokeToken({ id: bobs, user: null, audit: entry('token.revoke') });
      expect(revoked?.revoked_at).not.toBeNull();
      expect(await written()).toContain('token.revoke');
    });

    test('that names a project stays with it under another name, and is none for who takes the name', async () => {
      const [pool, other] = [named('pool'), named('other')];
      const id = await project(pool, 'somebody');
      await project(other, 'somebody');
      const hash = sha256(randomBytes(16).toString('hex'));
      const projects = JSON.stringify([other, pool]);
      const facts = { name: 't', kind: 'token' as const, user: null, scopes: '["read"]', expiresInMs: null };
      await store.createToken({ ...facts, hash, projects });
      const opens = async () => JSON.parse((await store.findToken({ hash }))?.projects ?? 'null');
      await store.renameProject({ projectId: id, name: `${pool}@deleted-${id}` });
      expect(await opens()).toEqual([other, `${pool}@deleted-${id}`]);
      await project(pool, 'somebody else');
      await store.createProject({ name: other, owner: 'somebody' });
      expect(await opens()).toEqual([other, `${pool}@deleted-${id}`]);
      // Also one that named a project which is long gone.
      const old = sha256(randomBytes(16).toString('hex'));
      await store.createToken({ ...facts, hash: old, projects: JSON.stringify([named('gone')]) });
      await project(named('gone'), 'somebody else');
      expect((await store.findToken({ hash: old }))?.projects).toBe('[]');
    });

    test('leaves its workers nothing to take when it is over, as a session that ends does', async () => {
      await add(named('anna'));
      const tokens = [await token(null), await token(named('anna'), 'session'), await token(null)];
      const ids = tokens.map(({ row }) => row?.id as number);
      const sessions = await Promise.all(ids.map((id) => register(id, null)));
      await store.revokeToken({ id: ids[0] as number, user: null });
      await store.setPersonPassword({ name: named('anna'), passwordHash: 'h2', hash: 'r', kept: null, shown: null });
      expect(await Promise.all(sessions.map(projectsOf))).toEqual(['[]', '[]', null]);
    });
  });

  describe('a new password', () => {
    test('is not set by who shows another one than there is now, or a session that is over', async () => {
      const anna = named('anna');
      await add(anna);
      const [first, second] = [await token(anna, 'session'), await token(anna, 'session')];
      const set = (passwordHash: string, mark: string | null, session: number | undefined) =>
        store.setPersonPassword({
          ...{ name: anna, passwordHash, hash: 'r', kept: session ?? null },
          shown: { mark: passwordMark(mark), session: session ?? 0 },
        });
      const before = (await store.findUser({ name: anna }))?.password_hash ?? null;
      expect(await set('h2', before, first.row?.id)).toEqual({ ended: 1 });
      expect(await set('h3', before, first.row?.id)).toBe('stale');
      expect(await set('h3', 'h2', second.row?.id)).toBe('stale');
      await add(named('bob'));
      expect(await set('h3', 'h2', (await token(named('bob'), 'session')).row?.id)).toBe('stale');
      expect((await store.findUser({ name: anna }))?.password_hash).toBe('h2');
      expect(await set('h3', 'h2', first.row?.id)).toEqual({ ended: 0 });
    });
  });

  describe('a session', () => {
    test('goes on while it is used, is no token in the list once it is over, and is forgotten after a time', async () => {
      await add(named('anna'));
      const { hash, row } = await token(named('anna'), 'session', 60_000);
      await store.renewSession({ id: row?.id as number, expiresInMs: YEAR_MS });
      const renewed = await store.findToken({ hash });
      expect((renewed?.expires_at ?? 0) - (renewed?.now ?? 0)).toBeGreaterThan(YEAR_MS / 2);
      const over = await token(named('anna'), 'session', -1000);
      await store.renewSession({ id: over.row?.id as number, expiresInMs: YEAR_MS });
      expect((await store.listTokens({ user: named('anna') })).map(({ id }) => id)).toEqual([row?.id]);
      await store.forgetSessions({ olderThanMs: 0 });
      expect(await store.findToken({ hash: over.hash })).toBeNull();
      expect(await store.findToken({ hash })).not.toBeNull();
    });

    test('ends with a new password, but for the one that set it; tokens for programs stay', async () => {
      const anna = named('anna');
      await add(anna);
      await add(named('bob'));
      const kept = await token(anna, 'session');
      const ended = await token(anna, 'session');
      const program = await token(anna);
      const bobs = await token(named('bob'), 'session');
      const change = { name: anna, passwordHash: 'h2', hash: 'r', kept: kept.row?.id as number, shown: null };
      expect(await store.setPersonPassword({ ...change, audit: entry('user.password') })).toEqual({ ended: 1 });
      const over = async (hash: string) => (await store.findToken({ hash }))?.revoked_at !== null;
      expect(await over(ended.hash)).toBe(true);
      for (const { hash } of [kept, program, bobs]) expect(await over(hash)).toBe(false);
      expect(await store.findUser({ name: anna })).toMatchObject({ password_hash: 'h2', revision: 2 });
      expect(await written()).toContain('user.password');
      // Also with one that comes through the CouchDB face, where other changes end nothing.
      const document = { name: anna, roles: '[]', fields: '{"a":1}', hash: 'r' };
      await store.putUser({ ...document, passwordHash: 'h2' });
      expect(await over(kept.hash)).toBe(false);
      await store.putUser({ ...document, passwordHash: 'h3' });
      expect(await over(kept.hash)).toBe(true);
      expect(await over(program.hash)).toBe(false);
      expect(await store.setPersonPassword({ ...change, name: named('nobody') })).toBeNull();
    });
  });

  describe('grants', () => {
    test('let users in whom there are, once, and not the owner', async () => {
      await add(named('anna'));
      await add(named('bob'));
      const id = await project(named('p'), named('anna'));
      const grant = (user: string) =>
        store.grantProject({ projectId: id, user, by: named('anna'), audit: entry('project.grant') });
      expect(await grant(named('nobody'))).toBe('no-user');
      expect(await grant(named('anna'))).toBe('is-owner');
      expect(await grant(named('bob'))).toBe('granted');
      expect(await grant(named('bob'))).toBe('granted-before');
      expect((await written()).filter((action) => action === 'project.grant')).toHaveLength(1);
      expect(await store.listMembers({ projectId: id })).toMatchObject([
        { user_name: named('bob'), granted_by: named('anna') },
      ]);
      const revoke = (user: string) => store.revokeProject({ projectId: id, user, audit: entry('project.revoke') });
      expect(await revoke(named('anna'))).toBe('is-owner');
      expect(await revoke(named('nobody'))).toBe('no-member');
      expect(await revoke(named('bob'))).toBe('revoked');
      expect((await written()).filter((action) => action === 'project.revoke')).toHaveLength(1);
      expect(await store.accessOfUser({ name: named('bob') })).toEqual([]);
    });

    test('a project changes its owner, and the one before stays a member', async () => {
      await add(named('anna'));
      await add(named('bob'));
      const id = await project(named('p'), named('anna'));
      await store.grantProject({ projectId: id, user: named('bob'), by: 'root' });
      const transfer = (user: string) => store.transferProject({ projectId: id, user, by: 'root', audit: audit() });
      expect(await transfer(named('nobody'))).toBe('no-user');
      expect(await transfer(named('anna'))).toBe('is-owner');
      expect(await transfer(named('bob'))).toBe('transferred');
      expect((await store.listProjects()).find((row) => row.id === id)?.owner).toBe(named('bob'));
      expect((await store.listMembers({ projectId: id })).map(({ user_name }) => user_name)).toEqual([named('anna')]);
      expect(await store.accessOfUser({ name: named('nobody') })).toBeNull();
    });

    test('that are taken away are taken from the workers too that came with the tokens of that user', async () => {
      const anna = named('anna');
      await add(anna);
      const own = await project(named('own'), anna);
      const other = await project(named('other'), 'somebody');
      await store.grantProject({ projectId: other, user: anna, by: 'root' });
      const annas = await register((await token(anna)).row?.id as number, [own, other]);
      const others = await register((await token(null)).row?.id as number, [own, other]);
      await store.revokeProject({ projectId: other, user: anna });
      expect(await projectsOf(annas)).toBe(JSON.stringify([own]));
      expect(await projectsOf(others)).toBe(JSON.stringify([own, other]));
      // Who came as an administrator had no limit.
      await store.setRole({ name: anna, role: 'administrator' });
      const unlimited = await register((await token(anna)).row?.id as number, null);
      await store.setRole({ name: anna, role: 'regular' });
      expect(await projectsOf(unlimited)).toBe(JSON.stringify([own]));
      await add(named('bob'));
      await store.removePerson({ name: anna, heir: named('bob') });
      for (const session of [annas, unlimited]) expect(await projectsOf(session)).toBe('[]');
    });
  });

  describe('a user who is removed', () => {
    test('leaves nothing behind: sessions, tokens, grants, and entries in databases of the CouchDB face', async () => {
      const anna = named('anna');
      await add(anna);
      const id = await project(named('p'), 'somebody');
      await store.grantProject({ projectId: id, user: anna, by: 'root' });
      const security = { admins: { names: [anna, 'x'], roles: ['r'] }, members: { names: [anna] }, more: 1 };
      await store.setSecurity({ projectId: id, security: JSON.stringify(security) });
      const tokens = [await token(anna), await token(anna, 'session')];
      expect(await store.removePerson({ name: anna, heir: null, audit: entry('user.remove') })).toEqual({
        kind: 'removed',
        projects: [],
      });
      for (const { hash } of tokens) {
        const found = await store.findToken({ hash });
        expect(found?.revoked_at).not.toBeNull();
        expect(found?.user).toBeNull();
      }
      expect(await store.findUser({ name: anna })).toBeNull();
      const row = (await store.listProjects()).find((one) => one.id === id);
      expect(JSON.parse(row?.security ?? '')).toEqual({
        admins: { names: ['x'], roles: ['r'] },
        members: { names: [] },
        more: 1,
      });
      expect(await written()).toContain('user.remove');
      // Who comes later under that name is somebody else.
      await add(anna);
      expect(await store.accessOfUser({ name: anna })).toEqual([]);
      for (const { hash } of tokens) expect((await store.findToken({ hash }))?.revoked_at).not.toBeNull();
    });

    test('leaves the projects to somebody, or stays', async () => {
      const [anna, bob] = [named('anna'), named('bob')];
      await add(anna);
      await add(bob);
      const id = await project(named('p'), anna);
      await store.grantProject({ projectId: id, user: bob, by: 'root' });
      const remove = (heir: string | null) => store.removePerson({ name: anna, heir, audit: entry('user.remove') });
      expect(await remove(null)).toEqual({ kind: 'owns', projects: [named('p')] });
      expect(await remove(anna)).toEqual({ kind: 'no-heir' });
      expect(await remove(named('nobody'))).toEqual({ kind: 'no-heir' });
      expect(await store.findUser({ name: anna })).not.toBeNull();
      expect(await written()).not.toContain('user.remove');
      expect(await remove(bob)).toEqual({ kind: 'removed', projects: [named('p')] });
      expect((await store.listProjects()).find((row) => row.id === id)?.owner).toBe(bob);
      expect(await store.listMembers({ projectId: id })).toEqual([]);
      expect(await store.removePerson({ name: anna, heir: null })).toEqual({ kind: 'unknown' });
    });
  });

  describe('the audit log', () => {
    test('is told newest first, by who, what and when, in pages', async () => {
      const entries = ['user.add', 'user.remove', 'userx.add', 'login'].map((action) => entry(action));
      await store.writeAudit({ entries: [...entries, entry('login', { outcome: 'refused', times: 7 })] });
      const all = await store.listAudit({ ...filter, who: `root-${mark}` });
      expect(all.map(({ action, times }) => [action, times])).toEqual([
        ['login', 7],
        ['login', 1],
        ['userx.add', 1],
        ['user.remove', 1],
        ['user.add', 1],
      ]);
      const some = async (over: object) =>
        (await store.listAudit({ ...filter, who: `root-${mark}`, ...over })).map(({ action }) => action);
      expect(await some({ action: 'user' })).toEqual(['user.remove', 'user.add']);
      expect(await some({ action: 'user.add' })).toEqual(['user.add']);
      expect(await some({ limit: 2 })).toEqual(['login', 'login']);
      expect(await some({ limit: 2, before: all[1]?.id })).toEqual(['userx.add', 'user.remove']);
      const at = all[0]?.at as number;
      expect(await some({ since: at, until: at + 1 })).toHaveLength(5);
      expect(await some({ until: at })).toEqual([]);
      expect(await some({ since: at + 1 })).toEqual([]);
      expect(await store.listAudit({ ...filter, who: 'nobody at all' })).toEqual([]);
    });

    test('is written with the change, or not at all', async () => {
      await add(named('anna'));
      await add(named('anna'));
      expect((await written()).filter((action) => action === 'user.add')).toHaveLength(1);
      const made = { name: named('p'), owner: 'o', audit: entry('project.create') };
      await store.createProject(made);
      await store.createProject(made);
      expect((await written()).filter((action) => action === 'project.create')).toHaveLength(1);
    });

    test('forgets what is older than it is kept for, in chunks', async () => {
      await store.writeAudit({ entries: [entry('a'), entry('b'), entry('c')] });
      expect(await store.forgetAudit({ olderThanMs: YEAR_MS, limit: 2 })).toBe(0);
      while ((await store.forgetAudit({ olderThanMs: -1, limit: 2 })) === 2);
      expect(await store.listAudit(filter)).toEqual([]);
    });
  });
});
