import { randomUUID } from 'node:crypto';
import { type Database, getDocuments, type NewDocument, undoClaim, writeDocuments } from '../pool/documents.ts';
import { type DocumentRow, formatRevision, type Revision } from '../store/document-rows.ts';
import type { NewAttachment, WriteAnswer } from '../store/verbs/document-write.ts';
import { readAttachment, storeBytes } from './attachment-bytes.ts';
import { badRequest, CouchError, notFound } from './couch-error.ts';
import { findDocument } from './find-document.ts';
import type { House } from './house.ts';
import {
  checkId,
  describeBytes,
  MAX_DOCUMENT_BYTES,
  parseRevision,
  type ReadDocument,
  readDocument,
} from './read-document.ts';
import { toRefusal } from './refusals.ts';
import { asObject, type CouchCall, flag, isKnown, readJson, sendJson } from './request.ts';
import { attachmentsOf, revOf, showDocument } from './show-document.ts';
import { requireAdminOf } from './visitors.ts';

export async function getDocument(house: House, call: CouchCall, database: Database, id: string) {
  const { query } = call;
  const wanted = query.get('rev');
  const row = await findDocument(house, database, id).catch(async (error: unknown) => {
    // A client that names the deletion's own revision gets to see it.
    const [deleted] = wanted === undefined ? [] : await getDocuments(house.parts, database, [id]);
    if (deleted && revOf(deleted) === wanted) return deleted;
    throw error;
  });
  if (wanted !== undefined && formatRevision(parseRevision(wanted)) !== revOf(row)) throw notFound('missing');
  const isPlain = !query.has('attachments') && !query.has('revs') && !query.has('open_revs');
  const headers: Record<string, string> = isPlain ? { etag: `"${revOf(row)}"` } : {};
  if (isPlain && isKnown(call, `"${revOf(row)}"`)) return call.reply.code(304).headers(headers).send();
  const revs = flag(query, 'revs') === true;
  const bytes = flag(query, 'attachments') === true ? await allBytes(house, database, row) : undefined;
  const shown = showDocument(row, { revs, ...(bytes ? { bytes } : {}) });
  if (query.has('open_revs')) return sendJson(call, 200, [{ ok: shown }]);
  return sendJson(call, 200, shown, headers);
}

async function allBytes(house: House, database: Database, row: DocumentRow): Promise<Map<string, string>> {
  const bytes = new Map<string, string>();
  for (const [name, attachment] of attachmentsOf(row))
    bytes.set(name, (await readAttachment(house, database, attachment)).toString('base64'));
  return bytes;
}

/** PUT /db/id and POST /db. */
export async function putDocument(house: House, call: CouchCall, database: Database, id: string | null) {
  const read = readDocument(await readJson(call), { kept: flag(call.query, 'new_edits') === false });
  if (id !== null && read.id !== undefined && read.id !== id)
    throw badRequest(`Document ID in the address ('${id}') and in the body ('${read.id}') differ`);
  const given = call.query.get('rev') ?? call.request.headers['if-match'];
  const rev = read.document.rev ?? (given === undefined ? null : parseRevision(given));
  const name = checkId(id ?? read.id ?? randomUUID().replaceAll('-', ''));
  const document = await prepare(house, call, database, { ...read, id: name, document: { ...read.document, rev } });
  return finish(house, call, database, document);
}

export async function deleteDocument(house: House, call: CouchCall, database: Database, id: string) {
  const given = call.query.get('rev') ?? call.request.headers['if-match'];
  const rev = given === undefined ? null : parseRevision(given);
  const document = { id, rev, deleted: true, fields: {}, attachments: {} };
  if (id.startsWith('_design/')) requireAdminOf(call.visitor, database);
  return finish(house, call, database, document, 200);
}

/** COPY /db/id with `Destination: other[?rev=R]`. */
export async function copyDocument(house: House, call: CouchCall, database: Database, id: string) {
  const [target = '', query = ''] = String(call.request.headers.destination ?? '').split('?');
  if (target === '') throw badRequest('Destination header is mandatory for COPY.');
  const row = await findDocument(house, database, id);
  const { _id, _rev, _attachments, ...fields } = showDocument(row);
  const attachments: Record<string, NewAttachment> = {};
  for (const [name, { revpos: _revpos, ...one }] of attachmentsOf(row)) attachments[name] = one;
  const rev = new URLSearchParams(query).get('rev');
  const to = checkId(decodeURIComponent(target.replace(/^\//, '')));
  if (to.startsWith('_design/')) requireAdminOf(call.visitor, database);
  const document = { id: to, rev: rev === null ? null : parseRevision(rev), deleted: false, fields, attachments };
  return finish(house, call, database, document);
}

/** Checks a document that was read, and stores the attachments that came inside it. */
export async function prepare(
  house: House,
  call: CouchCall,
  database: Database,
  read: ReadDocument & { readonly id: string },
): Promise<NewDocument> {
  const { id, document, inline } = read;
  if (id.startsWith('_design/')) {
    requireAdminOf(call.visitor, database);
    if (!document.deleted) checkDesign(document.fields);
  }
  if (JSON.stringify(document.fields).length > MAX_DOCUMENT_BYTES)
    throw new CouchError(
      413,
      'document_too_large',
      `the document '${id}' is larger than ${MAX_DOCUMENT_BYTES} bytes: put large data into an attachment`,
    );
  if (inline.length === 0) return { id, ...document };
  const attachments: Record<string, NewAttachment> = { ...document.attachments };
  for (const { name, contentType, bytes } of inline) {
    const { attachment } = describeBytes(contentType, bytes);
    await storeBytes(house, database, call.visitor.name, [{ digest: attachment.blob, bytes }]);
    attachments[name] = attachment;
  }
  return { id, ...document, attachments };
}

function checkDesign(fields: NewDocument['fields']): void {
  const { views } = fields;
  if (views === undefined) return;
  for (const [name, view] of Object.entries(asObject(views, 'the member views of a design document'))) {
    const { map } = asObject(view, `the view '${name}'`);
    if (name !== 'lib' && map !== undefined && typeof map !== 'string')
      throw new CouchError(
        400,
        'invalid_design_doc',
        `\`map\` of the view '${name}' must be a text: the source of a function`,
      );
  }
}

async function finish(house: House, call: CouchCall, database: Database, document: NewDocument, status = 201) {
  const [answer] = await writeDocuments(house.parts, database, call.visitor.name ?? database.owner, [document]);
  if (!answer) throw new Error('a write has an answer');
  const rev = accepted(answer, document.id);
  await undoIfGone(house, call, database, [{ id: document.id, answer }]);
  const text = formatRevision(rev);
  return sendJson(call, status, { ok: true, id: document.id, rev: text }, { etag: `"${text}"` });
}

/** The client is gone before anything could be sent: it does not know that it holds a token. */
export async function undoIfGone(
  house: House,
  call: CouchCall,
  database: Database,
  written: readonly { readonly id: string; readonly answer: WriteAnswer }[],
): Promise<void> {
  const claims = written.flatMap(({ id, answer }) => (answer.ok && answer.claimed ? [{ id, rev: answer.rev }] : []));
  if (claims.length === 0) return;
  const undo = async () => {
    for (const { id, rev } of claims) await undoClaim(house.parts, database, id, rev);
  };
  const { raw } = call.reply;
  if (call.request.gone.aborted || raw.destroyed || call.request.raw.socket.destroyed) return undo();
  raw.once('close', () => {
    if (raw.writableFinished) return;
    undo().catch((error: unknown) =>
      house.log.error({ err: error }, 'a claim whose reply was not sent could not be undone'),
    );
  });
}

function accepted(answer: WriteAnswer, id: string): Revision {
  if (answer.ok) return answer.rev;
  throw toRefusal(answer, id);
}
