import { Readable } from 'node:stream';
import { type Database, getDocuments, listDocuments } from '../pool/documents.ts';
import type { DocumentRow } from '../store/document-rows.ts';
import { badRequest, CouchError } from './couch-error.ts';
import type { House } from './house.ts';
import { asObject, type CouchCall, flag, jsonParameter, readJson, sendJson, wholeNumber } from './request.ts';
import { revOf, showDocument } from './show-document.ts';

interface Wanted {
  readonly keys: readonly string[] | undefined;
  readonly from: string | null;
  readonly to: string | null;
  readonly toIncluded: boolean;
  readonly descending: boolean;
  readonly limit: number;
  readonly skip: number;
  readonly includeDocs: boolean;
}

/** All ids of design documents begin so, and no others. */
const DESIGNS = { from: '_design/', to: '_design0' } as const;

/** GET and POST /db/_all_docs, and /db/_design_docs. */
export async function allDocs(house: House, call: CouchCall, database: Database, kind: 'all' | 'design') {
  const wanted = narrowed(await readWanted(call), kind);
  const facts = await house.parts.store.databaseFacts({ projectId: database.id });
  if (wanted.keys) {
    const rows = await keyRows(house, database, wanted.keys, wanted);
    return sendJson(call, 200, { total_rows: facts.documents, offset: null, rows });
  }
  const offset = wanted.from === null ? Math.min(wanted.skip, facts.documents) : null;
  const head = `{"total_rows":${facts.documents},"offset":${offset},"rows":[`;
  call.reply.code(200).headers({ 'content-type': 'application/json', 'cache-control': 'must-revalidate' });
  if (call.method === 'HEAD') return call.reply.send();
  return call.reply.send(Readable.from(pages(house, database, wanted, head)));
}

async function readWanted(call: CouchCall): Promise<Wanted> {
  const { query } = call;
  const body = call.method === 'POST' ? asObject(await readJson(call, {}), 'Request body') : {};
  const told = (...names: string[]) => {
    for (const name of names)
      if (Object.hasOwn(body, name) || query.has(name))
        return Object.hasOwn(body, name) ? body[name] : jsonParameter(query, name);
    return undefined;
  };
  const truth = (name: string) => (typeof body[name] === 'boolean' ? (body[name] as boolean) : flag(query, name));
  const count = (name: string) =>
    Number.isSafeInteger(body[name]) ? (body[name] as number) : wholeNumber(query, name);
  const key = text(told('key'), 'key');
  const keys = told('keys');
  if (keys !== undefined && !Array.isArray(keys)) throw badRequest('`keys` body member must be an array.');
  return {
    keys: keys?.map((one) => text(one, 'keys') as string),
    from: key ?? text(told('startkey', 'start_key'), 'startkey') ?? null,
    to: key ?? text(told('endkey', 'end_key'), 'endkey') ?? null,
    toIncluded: truth('inclusive_end') !== false,
    descending: truth('descending') === true,
    limit: count('limit') ?? Number.MAX_SAFE_INTEGER,
    skip: count('skip') ?? 0,
    includeDocs: truth('include_docs') === true,
  };
}

function narrowed(wanted: Wanted, kind: 'all' | 'design'): Wanted {
  if (kind === 'all') return wanted;
  const [from, to] = wanted.descending ? [DESIGNS.to, DESIGNS.from] : [DESIGNS.from, DESIGNS.to];
  return { ...wanted, from: wanted.from ?? from, to: wanted.to ?? to };
}

function text(value: unknown, name: string): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'string') return value;
  throw new CouchError(400, 'query_parse_error', `${name} must be a document's id, in quotes: ${name}="..."`);
}

async function keyRows(house: House, database: Database, keys: readonly string[], wanted: Wanted) {
  const found = new Map((await getDocuments(house.parts, database, [...new Set(keys)])).map((row) => [row.id, row]));
  const ordered = wanted.descending ? [...keys].reverse() : keys;
  return ordered.slice(wanted.skip, wanted.skip + wanted.limit).map((key) => {
    const row = found.get(key);
    if (!row) return { key, error: 'not_found' };
    if (row.deleted !== 0)
      return { id: key, key, value: { rev: revOf(row), deleted: true }, ...(wanted.includeDocs ? { doc: null } : {}) };
    return toRow(row, wanted.includeDocs);
  });
}

function toRow(row: DocumentRow, includeDocs: boolean) {
  return { id: row.id, key: row.id, value: { rev: revOf(row) }, ...(includeDocs ? { doc: showDocument(row) } : {}) };
}

const PAGE = 2000;

async function* pages(house: House, database: Database, wanted: Wanted, head: string): AsyncGenerator<string> {
  yield head;
  let { from, limit, skip } = wanted;
  let included = true;
  let isFirst = true;
  while (limit > 0) {
    const most = Math.min(PAGE, limit + skip);
    const { descending, to, toIncluded } = wanted;
    const range = { from, fromIncluded: included, to, toIncluded, descending, limit: most };
    const rows = await listDocuments(house.parts, database, range);
    const shown = rows.slice(skip);
    skip = Math.max(0, skip - rows.length);
    limit -= shown.length;
    if (shown.length > 0) {
      yield `${isFirst ? '\r\n' : ',\r\n'}${shown.map((row) => JSON.stringify(toRow(row, wanted.includeDocs))).join(',\r\n')}`;
      isFirst = false;
    }
    if (rows.length < most) break;
    from = rows.at(-1)?.id ?? null;
    included = false;
  }
  yield '\r\n]}\n';
}
