import { randomBytes } from 'node:crypto';
import { LEAST_PASSWORD } from '../../ground/base/least-password.ts';
import { hashPassword } from '../access/passwords.ts';
import { isAdministrator } from '../access/principal.ts';
import { formatRevision } from '../store/document-rows.ts';
import type { UserRow } from '../store/verbs/users.ts';
import { badRequest, CouchError, conflict, notFound } from './couch-error.ts';
import { actorOf, type House } from './house.ts';
import { parseRevision } from './read-document.ts';
import { asObject, type CouchCall, isKnown, readJson, sendJson } from './request.ts';
import type { Visitor } from './visitor.ts';
import { refused, requireServerAdmin } from './visitors.ts';

const PREFIX = 'org.couchdb.user:';

/** `/_users` and what is below it: who may log in. Passwords are never told, and kept as Argon2id hashes. */
export async function usersDatabase(house: House, call: CouchCall) {
  const [, id, ...rest] = call.path;
  if (id === undefined) return wholeDatabase(house, call);
  if (id === '_all_docs' && rest.length === 0) return allUsers(house, call);
  if (id === '_security')
    return sendJson(call, 200, { admins: { names: [], roles: ['_admin'] }, members: { names: [], roles: ['_admin'] } });
  if (!id.startsWith(PREFIX) || rest.length > 0)
    throw new CouchError(403, 'forbidden', `documents of _users are called ${PREFIX}NAME`);
  const name = id.slice(PREFIX.length);
  switch (call.method) {
    case 'GET':
    case 'HEAD':
      return getUser(house, call, name);
    case 'PUT':
      return putUser(house, call, name);
    case 'DELETE':
      return removeUser(house, call, name);
    default:
      throw notAllowed('GET,HEAD,PUT,DELETE');
  }
}

export function notAllowed(methods: string): CouchError {
  return new CouchError(405, 'method_not_allowed', `Only ${methods} allowed`);
}

async function wholeDatabase(house: House, call: CouchCall) {
  requireServerAdmin(call.visitor);
  if (call.method === 'PUT')
    throw new CouchError(412, 'file_exists', 'The database could not be created, the file already exists.');
  if (call.method !== 'GET' && call.method !== 'HEAD') throw notAllowed('GET,HEAD,PUT');
  const users = await house.parts.store.listUsers();
  return sendJson(call, 200, { db_name: '_users', doc_count: users.length, doc_del_count: 0, update_seq: '0' });
}

async function allUsers(house: House, call: CouchCall) {
  requireServerAdmin(call.visitor);
  const users = await house.parts.store.listUsers();
  const includeDocs = call.query.get('include_docs') === 'true';
  const rows = users.map((user) => {
    const id = PREFIX + user.name;
    return { id, key: id, value: { rev: revOf(user) }, ...(includeDocs ? { doc: show(user) } : {}) };
  });
  return sendJson(call, 200, { total_rows: rows.length, offset: 0, rows });
}

function isOneself(visitor: Visitor, name: string): boolean {
  return visitor.principal === null && visitor.name === name;
}

/** To others a user is not there. */
async function findFor(house: House, visitor: Visitor, name: string): Promise<UserRow | null> {
  if (visitor.name === null) throw refused(visitor, 'You are not allowed to read this document.');
  if (!visitor.isAdmin && !isOneself(visitor, name)) throw notFound('missing');
  return house.parts.store.findUser({ name });
}

async function getUser(house: House, call: CouchCall, name: string) {
  const user = await findFor(house, call.visitor, name);
  if (!user) throw notFound('missing');
  const etag = `"${revOf(user)}"`;
  if (isKnown(call, etag)) return call.reply.code(304).header('etag', etag).send();
  return sendJson(call, 200, show(user), { etag });
}

function revOf(user: UserRow): string {
  return formatRevision({ number: user.revision, hash: user.rev_hash });
}

function show(user: UserRow) {
  return {
    _id: PREFIX + user.name,
    _rev: revOf(user),
    ...(JSON.parse(user.fields) as object),
    name: user.name,
    roles: JSON.parse(user.roles) as string[],
    type: 'user',
    ...(user.password_hash === null ? {} : { password_scheme: 'argon2id' }),
  };
}

const NOT_KEPT = new Set([
  '_id',
  '_rev',
  'name',
  'roles',
  'type',
  'password',
  'password_scheme',
  'derived_key',
  'salt',
  'iterations',
  'pbkdf2_prf',
  'password_sha',
]);

async function putUser(house: House, call: CouchCall, name: string) {
  const { visitor } = call;
  const given = asObject(await readJson(call), 'Document');
  const standing = await findFor(house, visitor, name);
  if (!standing) requireServerAdmin(visitor);
  if (standing?.role && !isOneself(visitor, name)) await requirePilotageAdmin(house, visitor, name);
  const roles = readUser(given, name);
  if (standing?.role && given.password !== undefined) requireGoodChange(visitor, name, given.password as string);
  const before = JSON.parse(standing?.roles ?? '[]') as string[];
  if (!visitor.isAdmin && JSON.stringify([...roles].sort()) !== JSON.stringify([...before].sort()))
    throw new CouchError(403, 'forbidden', 'Only _admin may edit roles');
  const rev = given._rev ?? call.query.get('rev') ?? call.request.headers['if-match'];
  const { password } = given;
  const hash = randomBytes(16).toString('hex');
  const number = await house.parts.store.putUser({
    name,
    passwordHash: password === undefined ? (standing?.password_hash ?? null) : await hashPassword(password as string),
    roles: JSON.stringify(roles),
    fields: JSON.stringify(Object.fromEntries(Object.entries(given).filter(([key]) => !NOT_KEPT.has(key)))),
    revision: rev === undefined ? null : parseRevision(rev),
    hash,
  });
  if (number === null) throw conflict();
  if (standing) house.door.access.changed();
  const what = { roles, ...(password === undefined ? {} : { password: 'changed' }) };
  await house.parts.audit.note(actorOf(call), 'user.couchdb', name, what);
  const text = formatRevision({ number, hash });
  return sendJson(call, 201, { ok: true, id: PREFIX + name, rev: text }, { etag: `"${text}"` });
}

/** Here too the password of a user of Pilotage is long enough, and a cookie that somebody got hold of does not change it. */
function requireGoodChange(visitor: Visitor, name: string, password: string): void {
  if (password.length < LEAST_PASSWORD)
    throw badRequest(`'${name}' is a user of Pilotage: their password has at least ${LEAST_PASSWORD} characters`);
  if (visitor.how === 'cookie' && isOneself(visitor, name))
    throw new CouchError(
      403,
      'forbidden',
      'Whoever changes their own password shows the current one: send name and password (curl -u NAME:PASSWORD), not a cookie.',
    );
}

/** An administrator of the CouchDB face alone gives nobody a password who may more than that on the other side. */
async function requirePilotageAdmin(house: House, visitor: Visitor, name: string): Promise<void> {
  const { principal } = visitor;
  const self = visitor.name === null ? null : await house.parts.store.findUser({ name: visitor.name });
  if (principal ? isAdministrator(principal) : self?.role === 'administrator') return;
  throw new CouchError(403, 'forbidden', `'${name}' is a user of Pilotage, whom an administrator of Pilotage changes.`);
}

function readUser(given: Record<string, unknown>, name: string): string[] {
  if (given.type !== 'user') throw new CouchError(403, 'forbidden', 'doc.type must be user');
  if (given.name !== name) throw new CouchError(403, 'forbidden', `Doc ID must be of the form ${PREFIX}name`);
  const { roles = [], password } = given;
  if (!Array.isArray(roles) || !roles.every((role) => typeof role === 'string'))
    throw new CouchError(403, 'forbidden', 'doc.roles must be an array of texts');
  if (password !== undefined && (typeof password !== 'string' || password === ''))
    throw badRequest('password must be a text that is not empty');
  return roles as string[];
}

async function removeUser(house: House, call: CouchCall, name: string) {
  requireServerAdmin(call.visitor);
  const user = await house.parts.store.findUser({ name });
  if (!user) throw notFound('missing');
  if (user.role !== null)
    throw new CouchError(403, 'forbidden', `'${name}' is a user of Pilotage: 'pilotage user remove ${name}'`);
  const rev = call.query.get('rev') ?? call.request.headers['if-match'];
  if (rev === undefined || formatRevision(parseRevision(rev)) !== revOf(user)) throw conflict();
  await house.parts.store.removeUser({ name });
  house.door.access.changed();
  await house.parts.audit.note(actorOf(call), 'user.couchdb', name, { removed: true });
  return sendJson(call, 200, {
    ok: true,
    id: PREFIX + name,
    rev: formatRevision({ number: user.revision + 1, hash: user.rev_hash }),
  });
}
