import { isUtf8 } from 'node:buffer';
import type { FastifyRequest } from 'fastify';
import { PilotageError } from '../../ground/base/errors.ts';
import type { Access } from '../access/access.ts';
import { isAdministrator, mayDo, mayEnter, type Principal } from '../access/principal.ts';
import type { Users } from '../access/users.ts';
import type { Database } from '../pool/documents.ts';
import { CouchError } from './couch-error.ts';
import type { Sessions } from './sessions.ts';
import { NOBODY, type UserAccess, type Visitor, visitorOf } from './visitor.ts';

export interface Door {
  readonly access: Access;
  readonly users: Users;
  readonly sessions: Sessions;
  readonly accessOf: (name: string) => Promise<UserAccess>;
}

/** Basic with name and password (or any name and one of our tokens), Bearer, or the cookie of a session. */
export async function identify(door: Door, request: FastifyRequest): Promise<Visitor> {
  const [scheme = '', value = ''] = (request.headers.authorization ?? '').split(' ');
  if (/^basic$/i.test(scheme)) {
    const pair = textOf(Buffer.from(value, 'base64'));
    const colon = pair.indexOf(':');
    return withPassword(door, pair.slice(0, Math.max(0, colon)), pair.slice(colon + 1), request.ip);
  }
  if (/^bearer$/i.test(scheme)) return ofPrincipal(await door.access.authenticate(value, request.ip));
  const cookie = /(?:^|;\s*)AuthSession=([^;]+)/.exec(request.headers.cookie ?? '')?.[1];
  return cookie === undefined ? NOBODY : ((await door.sessions.visitor(cookie)) ?? NOBODY);
}

/**
 * The visitor of a request that is open, as they are now; rejects where they would be refused. The password is not hashed
 * again: it is right as long as it is the same. A cookie that grows old ends nothing that is open.
 */
export async function identifyAgain(door: Door, before: Visitor, request: FastifyRequest): Promise<Visitor> {
  const { name, how, passwordMark } = before;
  if (name === null || (how !== 'basic' && how !== 'cookie')) return identify(door, request);
  const user = await door.users.find(name);
  if (user?.passwordMark !== passwordMark) throw wrongPassword();
  return visitorOf(user, how, door.accessOf);
}

/** Clients differ in how they send what is not ASCII: curl and couchdb-python as UTF-8, python-requests as Latin-1. */
function textOf(bytes: Buffer): string {
  return bytes.toString(isUtf8(bytes) ? 'utf8' : 'latin1');
}

export async function withPassword(door: Door, name: string, password: string, address: string): Promise<Visitor> {
  if (password.startsWith('pilotage_') || password.startsWith('task:'))
    return ofPrincipal(await door.access.authenticate(password, address));
  try {
    const user = await door.users.verify(name, password, address);
    return await visitorOf(user, 'basic', door.accessOf);
  } catch (error) {
    if (error instanceof PilotageError && error.code === 'unauthenticated') throw wrongPassword();
    throw error;
  }
}

function wrongPassword(): CouchError {
  return new CouchError(401, 'unauthorized', 'Name or password is incorrect.');
}

function ofPrincipal(principal: Principal): Visitor {
  const isAdmin = isAdministrator(principal);
  const roles = isAdmin ? ['_admin'] : [];
  return { ...NOBODY, name: principal.name, roles, isAdmin, principal, how: 'token' };
}

interface Group {
  readonly names: readonly string[];
  readonly roles: readonly string[];
}

export interface Security {
  readonly admins: Group;
  readonly members: Group;
}

/** As a database of CouchDB 3 that nobody was let into yet. */
const CLOSED: Security = { admins: { names: [], roles: ['_admin'] }, members: { names: [], roles: ['_admin'] } };

export function securityOf(database: Database): Security {
  if (database.security === null) return CLOSED;
  const told = JSON.parse(database.security) as { admins?: Partial<Group>; members?: Partial<Group> };
  return { admins: groupOf(told.admins), members: groupOf(told.members) };
}

function groupOf(group: Partial<Group> | undefined): Group {
  return { names: group?.names ?? [], roles: group?.roles ?? [] };
}

/**
 * Passes, or rejects: 401 to nobody, 403 to somebody else. An empty list of members lets nobody in but the
 * administrators of the database: where CouchDB opens it to the world, another project's credentials see nothing here.
 */
export function requireMember(visitor: Visitor, database: Database, what: 'read' | 'write'): void {
  if (!isMember(visitor, database, what)) throw refused(visitor, 'You are not allowed to access this db.');
}

export function mayRead(visitor: Visitor, database: Database): boolean {
  return isMember(visitor, database, 'read');
}

function isMember(visitor: Visitor, database: Database, what: 'read' | 'write'): boolean {
  if (isAdminOf(visitor, database)) return true;
  const { principal } = visitor;
  if (!principal) return isIn(visitor, securityOf(database).members);
  return mayEnter(principal, database.name) && mayDo(principal, what === 'read' ? 'read' : 'submit');
}

export function requireAdminOf(visitor: Visitor, database: Database): void {
  if (!isAdminOf(visitor, database)) throw refused(visitor, 'You are not a db or server admin.');
}

/** Who says who may enter: of those that our grants let in, the owner alone. */
export function requireGrantor(visitor: Visitor, database: Database): void {
  requireAdminOf(visitor, database);
  const isOnlyMember = visitor.enters.includes(database.name) && !visitor.owns.includes(database.name);
  if (isOnlyMember && !isIn(visitor, securityOf(database).admins))
    throw refused(visitor, `The project belongs to '${database.owner}', who decides who may enter it.`);
}

export function requireServerAdmin(visitor: Visitor): void {
  if (!visitor.isAdmin) throw refused(visitor, 'You are not a server admin.');
}

export function isAdminOf(visitor: Visitor, database: Database): boolean {
  if (visitor.isAdmin) return true;
  const { principal } = visitor;
  if (principal) return principal.scopes.includes('admin') && mayEnter(principal, database.name);
  if (visitor.enters.includes(database.name)) return true;
  return isIn(visitor, securityOf(database).admins);
}

function isIn(visitor: Visitor, group: Group): boolean {
  if (visitor.name === null) return false;
  return group.names.includes(visitor.name) || group.roles.some((role) => visitor.roles.includes(role));
}

/** Refusals say 401 to who did not say who they are. */
export function refused(visitor: Visitor, reason: string): CouchError {
  if (visitor.name === null)
    return new CouchError(401, 'unauthorized', `${reason} Send name and password (curl -u NAME:PASSWORD).`);
  return new CouchError(403, 'forbidden', reason);
}
