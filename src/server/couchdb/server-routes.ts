import { randomUUID } from 'node:crypto';
import { findDatabase } from '../pool/documents.ts';
import { CouchError, notFound } from './couch-error.ts';
import type { House } from './house.ts';
import { type CouchCall, readText, sendJson, wholeNumber } from './request.ts';
import { notAllowed } from './users-database.ts';
import { utilsPages } from './utils-pages.ts';
import { mayRead, refused, requireServerAdmin, withPassword } from './visitors.ts';

/** The release whose behaviour is kept to. */
const COUCHDB_VERSION = '3.3.3';

export function welcome(call: CouchCall, house: House) {
  return sendJson(call, 200, {
    couchdb: 'Welcome',
    version: COUCHDB_VERSION,
    git_sha: 'pilotage',
    uuid: 'pilotage',
    features: [],
    vendor: { name: 'Pilotage', version: house.parts.version },
  });
}

/** What begins with an underscore at the top. */
export async function serverRoute(house: House, call: CouchCall) {
  const [name] = call.path;
  switch (name) {
    case '_up':
      return sendJson(call, 200, { status: 'ok', seeds: {} });
    case '_session':
      return session(house, call);
    case '_all_dbs':
      return allDatabases(house, call);
    case '_uuids': {
      const count = Math.min(wholeNumber(call.query, 'count') ?? 1, 1000);
      const uuids = Array.from({ length: count }, () => randomUUID().replaceAll('-', ''));
      return sendJson(call, 200, { uuids }, { 'cache-control': 'must-revalidate, no-cache' });
    }
    case '_active_tasks':
      requireServerAdmin(call.visitor);
      return sendJson(call, 200, []);
    case '_membership':
      return sendJson(call, 200, { all_nodes: ['pilotage'], cluster_nodes: ['pilotage'] });
    case '_utils':
      return utilsPages(house, call);
    case '_replicate':
    case '_replicator':
      throw new CouchError(
        501,
        'not_implemented',
        "this face does not replicate: 'pilotage import couchdb' and 'pilotage export couchdb' bring and take whole databases",
      );
    default:
      throw notFound(`there is no '${name}' here`);
  }
}

async function allDatabases(house: House, call: CouchCall) {
  if (call.visitor.name === null) throw refused(call.visitor, 'You are not allowed to list databases.');
  const names: string[] = [];
  for (const { name } of await house.parts.store.listProjects()) {
    const database = await findDatabase(house.parts, name);
    if (database && mayRead(call.visitor, database)) names.push(name);
  }
  return sendJson(call, 200, names.sort());
}

async function session(house: House, call: CouchCall) {
  const { visitor } = call;
  switch (call.method) {
    case 'GET':
    case 'HEAD':
      return sendJson(call, 200, {
        ok: true,
        userCtx: { name: visitor.name, roles: visitor.roles },
        info: {
          authentication_handlers: ['cookie', 'default'],
          ...(visitor.how === 'none' ? {} : { authenticated: visitor.how === 'cookie' ? 'cookie' : 'default' }),
        },
      });
    case 'POST': {
      const { name, password } = await readLogin(call);
      const known = await withPassword(house.door, name, password, call.request.ip);
      if (known.principal)
        throw new CouchError(403, 'forbidden', 'a token needs no session: send it with each request, as the password');
      return sendJson(
        call,
        200,
        { ok: true, name: known.name, roles: known.roles },
        { 'set-cookie': cookie(call, house.door.sessions.cookie(name, known.passwordMark)) },
      );
    }
    case 'DELETE':
      return sendJson(call, 200, { ok: true }, { 'set-cookie': `${cookie(call, '')}; Max-Age=0` });
    default:
      throw notAllowed('GET,HEAD,POST,DELETE');
  }
}

function cookie(call: CouchCall, value: string): string {
  const secure = call.request.protocol === 'https' ? '; Secure' : '';
  return `AuthSession=${value}; Version=1; Path=/; HttpOnly; SameSite=Strict${secure}`;
}

async function readLogin(call: CouchCall): Promise<{ name: string; password: string }> {
  const text = await readText(call.request.raw);
  const isForm = (call.request.headers['content-type'] ?? '').startsWith('application/x-www-form-urlencoded');
  const fields = isForm ? Object.fromEntries(new URLSearchParams(text)) : parse(text);
  const { name, username, password } = fields as { name?: unknown; username?: unknown; password?: unknown };
  const who = name ?? username;
  if (typeof who === 'string' && typeof password === 'string') return { name: who, password };
  throw new CouchError(400, 'bad_request', 'request body must contain a username and a password');
}

function parse(text: string): object {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value;
  } catch {
    // It is told below, in the words that clients know.
  }
  throw new CouchError(400, 'bad_request', 'request body must be JSON or a form with name and password');
}
