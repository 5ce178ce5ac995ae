import { PilotageError } from '../../ground/base/errors.ts';
import { type Database, findDatabase } from '../pool/documents.ts';
import { badRequest, CouchError, notFound } from './couch-error.ts';
import { actorOf, type House } from './house.ts';
import { asObject, type CouchCall, readJson, sendJson } from './request.ts';
import { notAllowed } from './users-database.ts';
import { requireServerAdmin, securityOf } from './visitors.ts';

/** What CouchDB takes for a name, as far as a project can be called so. */
const NAME = /^[a-z][a-z0-9_+/-]{0,127}$/;

/** The database, with its standard views. */
export async function openDatabase(house: House, name: string): Promise<Database> {
  const database = await findDatabase(house.parts, name);
  if (!database) throw notFound('Database does not exist.');
  if (!house.furnished.has(database.id)) {
    await house.parts.store.addMonitor({ projectId: database.id });
    house.furnished.add(database.id);
  }
  return database;
}

export async function createDatabase(house: House, call: CouchCall, name: string) {
  requireServerAdmin(call.visitor);
  if (await findDatabase(house.parts, name))
    throw new CouchError(412, 'file_exists', 'The database could not be created, the file already exists.');
  if (!NAME.test(name))
    throw new CouchError(
      400,
      'illegal_database_name',
      `Name: '${name}'. Only lowercase letters (a-z), digits (0-9), and the characters _, +, -, and / are allowed. Must begin with a letter.`,
    );
  const audit = house.parts.audit.entry(actorOf(call), 'project.create', name);
  await house.parts.store.createProject({ name, owner: call.visitor.name ?? 'admin', audit });
  house.door.access.changed();
  return sendJson(call, 201, { ok: true }, { location: `/${encodeURIComponent(name)}` });
}

/** What it held is kept under another name; what was not finished is cancelled. */
export async function deleteDatabase(house: House, call: CouchCall, database: Database) {
  requireServerAdmin(call.visitor);
  if (database.name === 'default')
    throw new CouchError(403, 'forbidden', "the project 'default' always exists: delete its documents instead");
  const principal = {
    name: call.visitor.name ?? 'admin',
    tokenId: 0,
    scopes: ['admin' as const],
    projects: null,
    address: call.request.ip,
  };
  try {
    await house.pool.cancel(principal, { project: database.name, all: true });
  } catch (error) {
    // Nothing to cancel is as good.
    if (!(error instanceof PilotageError) || error.code !== 'not-found') throw error;
  }
  await house.parts.store.renameProject({
    projectId: database.id,
    name: `${database.name.slice(0, 100)}@deleted-${database.id}`,
  });
  house.door.access.changed();
  await house.parts.audit.note(actorOf(call), 'project.remove', database.name);
  await house.views.forget(String(database.id));
  return sendJson(call, 200, { ok: true });
}

export async function databaseInfo(house: House, call: CouchCall, database: Database) {
  const facts = await house.parts.store.databaseFacts({ projectId: database.id });
  return sendJson(call, 200, {
    db_name: database.name,
    doc_count: facts.documents,
    doc_del_count: facts.deleted,
    update_seq: await house.changes.newest(database.id),
    purge_seq: '0',
    compact_running: false,
    sizes: { file: 0, external: 0, active: 0 },
    props: {},
    disk_format_version: 8,
    instance_start_time: '0',
    cluster: { q: 1, n: 1, w: 1, r: 1 },
  });
}

export async function getSecurity(call: CouchCall, database: Database) {
  return sendJson(call, 200, database.security === null ? securityOf(database) : JSON.parse(database.security));
}

export async function putSecurity(house: House, call: CouchCall, database: Database) {
  if (call.method !== 'PUT') throw notAllowed('PUT,GET');
  const given = asObject(await readJson(call), 'Request body');
  for (const group of ['admins', 'members'] as const) {
    if (given[group] === undefined) continue;
    const { names = [], roles = [] } = asObject(given[group], group);
    for (const [what, list] of [
      ['names', names],
      ['roles', roles],
    ] as const)
      if (!Array.isArray(list) || !list.every((one) => typeof one === 'string'))
        throw badRequest(`${what} of ${group} must be a JSON list of strings`);
  }
  await house.parts.store.setSecurity({ projectId: database.id, security: JSON.stringify(given) });
  house.door.access.changed();
  await house.parts.audit.note(actorOf(call), 'project.security', database.name, given);
  return sendJson(call, 200, { ok: true });
}
