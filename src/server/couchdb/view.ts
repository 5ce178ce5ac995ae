import { PilotageError } from '../../ground/base/errors.ts';
import { type Database, getDocuments } from '../pool/documents.ts';
import { fieldsOf } from '../store/document-rows.ts';
import { badRequest, CouchError, notFound } from './couch-error.ts';
import { findDocument } from './find-document.ts';
import type { House } from './house.ts';
import { asObject, type CouchCall, flag, jsonParameter, readJson, sendJson } from './request.ts';
import { showDocument } from './show-document.ts';
import type { DesignText, ViewQuery } from './views/views.ts';

/** GET and POST /db/_design/name/_view/view. */
export async function queryView(house: House, call: CouchCall, database: Database, design: string, view: string) {
  const told = await readToldParameters(call);
  const { result, includeDocs, query } = await askView(house, call, database, { design, view, told });
  const sequence = query.updateSeq ? { update_seq: result.position } : {};
  if (!('totalRows' in result)) return sendJson(call, 200, { rows: result.rows, ...sequence });
  const rows = includeDocs ? await withDocuments(house, database, result.rows) : result.rows;
  return sendJson(call, 200, { total_rows: result.totalRows, offset: result.offset, rows, ...sequence });
}

interface Asked {
  readonly design: string;
  readonly view: string;
  readonly told: Told;
}

/** A design document that changes while it is asked is asked again as it stands by then. */
async function askView(house: House, call: CouchCall, database: Database, asked: Asked, triesLeft = 5) {
  const { design, view, told } = asked;
  const text = await findDesign(house, database, design);
  if (!Object.hasOwn(text.views, view) || view === 'lib') throw notFound('missing_named_view');
  const { includeDocs, query } = toViewQuery(told, text.views[view]?.reduce !== undefined);
  try {
    const result = await house.views.query(String(database.id), text, view, query, call.request.life.ends);
    return { result, includeDocs, query };
  } catch (error) {
    if (!(error instanceof PilotageError) || error.code !== 'wrong-state' || triesLeft <= 1) throw error;
    return askView(house, call, database, asked, triesLeft - 1);
  }
}

export async function findDesign(house: House, database: Database, name: string): Promise<DesignText> {
  const row = await findDocument(house, database, `_design/${name}`);
  const { views, language, options } = fieldsOf(row) as Partial<DesignText>;
  if (language !== undefined && language !== 'javascript')
    throw new CouchError(
      400,
      'unknown_query_language',
      `the design document '${row.id}' is written in '${language}': only javascript is run here`,
    );
  return { id: row.id, views: views ?? {}, language: 'javascript', ...(options === undefined ? {} : { options }) };
}

type Told = Readonly<Record<string, unknown>>;

/** Parameters of the address are JSON where CouchDB's are; a POST may bring any of them in its body. */
async function readToldParameters(call: CouchCall): Promise<Told> {
  const told: Record<string, unknown> = {};
  for (const name of ['key', 'keys', 'startkey', 'start_key', 'endkey', 'end_key', 'group_level', 'limit', 'skip']) {
    const value = jsonParameter(call.query, name);
    if (value !== undefined) told[name] = value;
  }
  for (const name of [
    'descending',
    'group',
    'reduce',
    'include_docs',
    'inclusive_end',
    'update_seq',
    'conflicts',
    'attachments',
    'sorted',
    'stable',
  ]) {
    const value = flag(call.query, name);
    if (value !== undefined) told[name] = value;
  }
  for (const name of ['startkey_docid', 'start_key_doc_id', 'endkey_docid', 'end_key_doc_id', 'stale', 'update']) {
    const value = call.query.get(name);
    if (value !== undefined) told[name] = value;
  }
  if (call.method !== 'POST') return told;
  const body = asObject(await readJson(call, {}), 'Request body');
  if (Object.hasOwn(body, 'queries')) throw badRequest('several queries at once are not offered: send them one by one');
  return { ...told, ...body };
}

function toViewQuery(told: Told, hasReduce: boolean): { includeDocs: boolean; query: ViewQuery } {
  const { keys } = told;
  if (keys !== undefined && !Array.isArray(keys)) throw badRequest('`keys` body member must be an array.');
  const reduce = told.reduce === undefined ? hasReduce : told.reduce === true;
  if (reduce && !hasReduce) throw new CouchError(400, 'query_parse_error', 'Reduce is invalid for map-only views.');
  const includeDocs = told.include_docs === true;
  if (reduce && includeDocs) throw new CouchError(400, 'query_parse_error', '`include_docs` is invalid for reduce');
  const isGrouped = told.group === true || told.group_level !== undefined;
  if (!reduce && isGrouped) throw new CouchError(400, 'query_parse_error', 'Invalid use of grouping on a map view.');
  if (reduce && keys !== undefined && !isGrouped && keys.length > 1)
    throw new CouchError(400, 'query_parse_error', 'Multi-key fetches for reduce views must use `group=true`');
  const isStale =
    told.stale === 'ok' ||
    told.stale === 'update_after' ||
    told.update === 'false' ||
    told.update === 'lazy' ||
    told.update === false;
  const has = (name: string, alias: string) => Object.hasOwn(told, name) || Object.hasOwn(told, alias);
  const either = (name: string, alias: string) => (Object.hasOwn(told, name) ? told[name] : told[alias]);
  const query: ViewQuery = {
    reduce,
    ...(Object.hasOwn(told, 'key') ? { key: told.key } : {}),
    ...(keys === undefined ? {} : { keys }),
    ...(has('startkey', 'start_key') ? { startKey: either('startkey', 'start_key') } : {}),
    ...(has('endkey', 'end_key') ? { endKey: either('endkey', 'end_key') } : {}),
    ...(has('startkey_docid', 'start_key_doc_id')
      ? { startKeyDocId: String(either('startkey_docid', 'start_key_doc_id')) }
      : {}),
    ...(has('endkey_docid', 'end_key_doc_id') ? { endKeyDocId: String(either('endkey_docid', 'end_key_doc_id')) } : {}),
    ...(told.inclusive_end === undefined ? {} : { inclusiveEnd: told.inclusive_end === true }),
    ...(told.descending === undefined ? {} : { descending: told.descending === true }),
    ...(told.limit === undefined ? {} : { limit: whole(told.limit, 'limit') }),
    ...(told.skip === undefined ? {} : { skip: whole(told.skip, 'skip') }),
    ...(told.group === undefined ? {} : { group: told.group === true }),
    ...(told.group_level === undefined ? {} : { groupLevel: whole(told.group_level, 'group_level') }),
    ...(isStale ? { update: false } : {}),
    ...(told.update_seq === true ? { updateSeq: true } : {}),
  };
  return { includeDocs, query };
}

function whole(value: unknown, name: string): number {
  const number = typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value;
  if (Number.isSafeInteger(number) && (number as number) >= 0) return number as number;
  throw new CouchError(
    400,
    'query_parse_error',
    `Invalid value for ${name}: ${JSON.stringify(value)}, it must be a whole number of at least 0`,
  );
}

interface Row {
  readonly id: string;
  readonly key: unknown;
  readonly value: unknown;
}

/** The document of each row, or the one that its value names. */
async function withDocuments(house: House, database: Database, rows: readonly Row[]) {
  const idOf = (row: Row) => {
    const named = (row.value as { _id?: unknown } | null)?._id;
    return typeof row.value === 'object' && typeof named === 'string' ? named : row.id;
  };
  const found = new Map<string, unknown>();
  const ids = [...new Set(rows.map(idOf))];
  for (let at = 0; at < ids.length; at += 2000)
    for (const row of await getDocuments(house.parts, database, ids.slice(at, at + 2000)))
      if (row.deleted === 0) found.set(row.id, showDocument(row));
  return rows.map((row) => ({ ...row, doc: found.get(idOf(row)) ?? null }));
}

/** POST /db/_find: a selector over all documents. */
export async function findBySelector(house: House, call: CouchCall, database: Database) {
  const body = asObject(await readJson(call), 'Request body');
  if (!Object.hasOwn(body, 'selector'))
    throw new CouchError(400, 'missing_required_key', 'Missing required key: selector');
  const selector = asObject(body.selector, 'selector');
  const { limit, skip, fields, sort } = body;
  const request = {
    selector,
    ...(fields === undefined ? {} : { fields }),
    ...(sort === undefined ? {} : { sort }),
    ...(limit === undefined ? {} : { limit: whole(limit, 'limit') }),
    ...(skip === undefined ? {} : { skip: whole(skip, 'skip') }),
  };
  const { docs } = await house.views.find(
    String(database.id),
    request as Parameters<House['views']['find']>[1],
    call.request.life.ends,
  );
  return sendJson(call, 200, { docs, bookmark: 'nil' });
}
