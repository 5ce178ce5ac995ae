import { randomUUID } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { type Database, getDocuments, type NewDocument, writeDocuments } from '../pool/documents.ts';
import { formatRevision } from '../store/document-rows.ts';
import { badRequest } from './couch-error.ts';
import { prepare, undoIfGone } from './documents.ts';
import type { House } from './house.ts';
import { checkId, parseRevision, readDocument } from './read-document.ts';
import { toRefusal } from './refusals.ts';
import { asObject, type CouchCall, readJson, sendJson } from './request.ts';
import { revOf, showDocument } from './show-document.ts';

/** After so many documents others get their turn. */
const BREATH = 1000;

/** POST /db/_bulk_docs: each document is judged on its own; what cannot be read refuses all, and nothing is stored. */
export async function bulkDocuments(house: House, call: CouchCall, database: Database) {
  const body = asObject(await readJson(call), 'Request body');
  if (!Array.isArray(body.docs)) throw badRequest('POST body must include `docs` parameter.');
  const kept = body.new_edits === false;
  const documents: NewDocument[] = [];
  for (const value of body.docs as unknown[]) {
    if (documents.length % BREATH === BREATH - 1) await setImmediate();
    const read = readDocument(value, { kept });
    const id = checkId(read.id ?? randomUUID().replaceAll('-', ''));
    documents.push(await prepare(house, call, database, { ...read, id }));
  }
  const answers = await writeDocuments(house.parts, database, call.visitor.name ?? database.owner, documents);
  const written = answers.map((answer, i) => ({ id: documents[i]?.id ?? '', answer }));
  await undoIfGone(house, call, database, written);
  const rows = written.map(({ id, answer }) => {
    if (answer.ok) return { ok: true, id, rev: formatRevision(answer.rev) };
    const { error, reason } = toRefusal(answer, id);
    return { id, error, reason };
  });
  // As CouchDB: with new_edits=false only what was refused is told, and having the newer one already is no refusal.
  return sendJson(call, 201, kept ? rows.filter((row) => 'error' in row && row.error !== 'conflict') : rows);
}

/** POST /db/_bulk_get. */
export async function bulkGet(house: House, call: CouchCall, database: Database) {
  const body = asObject(await readJson(call), 'Request body');
  if (!Array.isArray(body.docs)) throw badRequest('POST body must include `docs` parameter.');
  const wanted = (body.docs as unknown[])
    .map((one) => asObject(one, 'each of docs'))
    .map((one) => ({ id: String(one.id), rev: one.rev }));
  const rows = new Map(
    (
      await getDocuments(
        house.parts,
        database,
        wanted.map((one) => one.id),
      )
    ).map((row) => [row.id, row]),
  );
  const results = wanted.map(({ id, rev }) => {
    const row = rows.get(id);
    const fits = row && (rev === undefined || formatRevision(parseRevision(rev)) === revOf(row));
    const answer = fits
      ? { ok: showDocument(row) }
      : { error: { id, rev: rev ?? 'undefined', error: 'not_found', reason: 'missing' } };
    return { id, docs: [answer] };
  });
  return sendJson(call, 200, { results });
}

/** POST /db/_revs_diff and /db/_missing_revs: what a replicator asks before it sends. */
export async function revsDiff(house: House, call: CouchCall, database: Database, form: 'diff' | 'missing') {
  const body = asObject(await readJson(call), 'Request body');
  const rows = new Map((await getDocuments(house.parts, database, Object.keys(body))).map((row) => [row.id, row]));
  const missing: [string, unknown][] = [];
  for (const [id, revs] of Object.entries(body)) {
    if (!Array.isArray(revs)) throw badRequest(`the revisions of '${id}' must be a list`);
    const row = rows.get(id);
    const known = row ? revOf(row) : undefined;
    const unknown = revs.map((rev) => formatRevision(parseRevision(rev))).filter((rev) => rev !== known);
    if (unknown.length > 0) missing.push([id, form === 'diff' ? { missing: unknown } : unknown]);
  }
  const result = Object.fromEntries(missing);
  return sendJson(call, 200, form === 'diff' ? result : { missing_revs: result });
}
