import { randomBytes } from 'node:crypto';
import { PilotageError } from '../../ground/base/errors.ts';
import type { Store } from '../store/store.ts';
import type { Role, UserRow } from '../store/verbs/users.ts';
import type { Access } from './access.ts';
import type { Audit } from './audit.ts';
import { hashPassword } from './passwords.ts';
import { type Principal, requireAdministrator, requirePerson } from './principal.ts';
import type { User, Users } from './users.ts';

/** A user with what they own. */
export interface Person {
  readonly name: string;
  readonly role: Role;
  readonly hasPassword: boolean;
  readonly createdAt: number;
  readonly projects: readonly string[];
  readonly weight: number;
  readonly runningLimit: number | null;
  readonly storageLimit: number | null;
}

export interface NewPersonFacts {
  readonly name: string;
  readonly role?: Role | undefined;
  readonly password?: string | undefined;
}

/** Users of Pilotage. Those whom the CouchDB face alone knows are none. */
export interface People {
  list(who: Principal): Promise<Person[]>;
  add(who: Principal, facts: NewPersonFacts): Promise<Person>;
  setRole(who: Principal, name: string, role: Role): Promise<Person>;
  /** Who changes their own with a session gives the current one. Resolves with how many other sessions ended. */
  setPassword(
    who: Principal,
    name: string,
    facts: { readonly password: string; readonly current?: string | undefined },
  ): Promise<{ endedSessions: number }>;
  /** Sessions, tokens and grants end at once; what the user owns goes to the heir. */
  remove(who: Principal, name: string, heir: string | null): Promise<{ name: string; transferred: readonly string[] }>;
}

export interface PeopleParts {
  readonly store: Store;
  readonly users: Users;
  readonly access: Access;
  readonly audit: Audit;
}

export function createPeople({ store, users, access, audit }: PeopleParts): People {
  const get = async (name: string) => (await readPeople(store)).find((person) => person.name === name) ?? noUser(name);
  return {
    async list(who) {
      requireAdministrator(who);
      return readPeople(store);
    },
    async add(who, { name, role = 'regular', password }) {
      requireAdministrator(who);
      const passwordHash = password === undefined ? null : await hashPassword(password);
      const added = await store.addPerson({
        name,
        role,
        passwordHash,
        hash: revision(),
        audit: audit.entry(who, 'user.add', name, { role }),
      });
      if (added !== 'added') throw known(name, added);
      return get(name);
    },
    async setRole(who, name, role) {
      requireAdministrator(who);
      const before = (await store.findUser({ name }))?.role ?? null;
      const entry = audit.entry(who, 'user.role', name, { role, before });
      const result = await store.setRole({ name, role, audit: entry });
      access.changed();
      if (result === 'last-administrator') throw lastAdministrator(name, 'made a regular user');
      return result === 'unknown' ? noUser(name) : get(name);
    },
    async setPassword(who, name, { password, current }) {
      const isOwn = who.user?.name === name;
      if (!isOwn) requireAdministrator(who);
      const shown = isOwn ? await requireCurrent(users, who, current) : undefined;
      const done = await store.setPersonPassword({
        name,
        passwordHash: await hashPassword(password),
        hash: revision(),
        kept: isOwn ? who.tokenId : null,
        shown: shown ? { mark: shown.passwordMark, session: who.tokenId } : null,
        audit: audit.entry(who, 'user.password', name),
      });
      access.changed();
      if (done === 'stale')
        throw new PilotageError(
          'unauthenticated',
          `the password of '${name}' was changed meanwhile, or the login ended: log in again with 'pilotage login'; nothing was changed`,
        );
      return done ? { endedSessions: done.ended } : noUser(name);
    },
    async remove(who, name, heir) {
      requireAdministrator(who);
      const entry = audit.entry(who, 'user.remove', name, heir === null ? {} : { transferredTo: heir });
      const result = await store.removePerson({ name, heir, audit: entry });
      access.changed();
      switch (result.kind) {
        case 'removed':
          return { name, transferred: result.projects };
        case 'last-administrator':
          throw lastAdministrator(name, 'removed');
        case 'owns':
          throw owns(name, result.projects);
        case 'no-heir':
          throw new PilotageError(
            'bad-request',
            `what '${name}' owns cannot go to '${heir}': name another user ('pilotage user list' shows them)`,
          );
        case 'unknown':
          return noUser(name);
      }
    },
  };
}

function revision(): string {
  return randomBytes(16).toString('hex');
}

async function readPeople(store: Store): Promise<Person[]> {
  const projects = await store.listProjects();
  const given = new Map((await store.listGiven()).map((row) => [row.name, row]));
  return (await store.listUsers())
    .filter((row): row is UserRow & { role: Role } => row.role !== null)
    .map(({ name, role, password_hash, created_at }) => ({
      name,
      role,
      hasPassword: password_hash !== null,
      createdAt: created_at,
      projects: projects.filter(({ owner }) => owner === name).map((project) => project.name),
      weight: given.get(name)?.weight ?? 1,
      runningLimit: given.get(name)?.running_limit ?? null,
      storageLimit: given.get(name)?.storage_limit ?? null,
    }));
}

/** A session that somebody else got hold of is no way to keep its user out. Undefined: no password was to be shown. */
async function requireCurrent(users: Users, who: Principal, current: string | undefined): Promise<User | undefined> {
  requirePerson(who);
  if (who.token?.kind !== 'session') return undefined;
  if (current === undefined)
    throw new PilotageError('bad-request', 'whoever changes their own password gives the current one with it');
  try {
    return await users.verify(who.name, current, who.address ?? '');
  } catch (error) {
    if (!(error instanceof PilotageError) || error.code !== 'unauthenticated') throw error;
    throw new PilotageError('forbidden', `that is not the current password of '${who.name}': nothing was changed`);
  }
}

function noUser(name: string): never {
  throw new PilotageError(
    'not-found',
    `there is no user '${name}': 'pilotage user list' shows those there are, 'pilotage user add ${name}' makes one`,
  );
}

function known(name: string, as: 'there' | 'couchdb'): PilotageError {
  if (as === 'there') return new PilotageError('already-exists', `there is a user '${name}' already`);
  return new PilotageError(
    'already-exists',
    `'${name}' is known to clients of CouchDB already: 'pilotage user role ${name} regular' makes a user of Pilotage of them, with the password that they have`,
  );
}

function lastAdministrator(name: string, what: string): PilotageError {
  return new PilotageError(
    'wrong-state',
    `'${name}' is the last administrator and cannot be ${what}: make somebody else one first, with 'pilotage user role NAME administrator'`,
  );
}

function owns(name: string, projects: readonly string[]): PilotageError {
  return new PilotageError(
    'wrong-state',
    `'${name}' owns ${projects.map((project) => `'${project}'`).join(', ')}: say who gets that with --transfer-to USER; nothing was removed`,
  );
}
