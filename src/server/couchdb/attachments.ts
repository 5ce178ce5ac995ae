import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Database, writeDocuments } from '../pool/documents.ts';
import { type DocumentRow, formatRevision } from '../store/document-rows.ts';
import type { NewAttachment } from '../store/verbs/document-write.ts';
import { CouchError, notFound } from './couch-error.ts';
import { findDocument } from './find-document.ts';
import { agentFor, type House } from './house.ts';
import { checkAttachmentName, checkId, parseRevision } from './read-document.ts';
import { toRefusal } from './refusals.ts';
import { type CouchCall, isKnown, requirePlain, sendJson } from './request.ts';
import { attachmentsOf, revOf, showDocument } from './show-document.ts';
import { requireAdminOf } from './visitors.ts';

/** GET and HEAD /db/id/name. */
export async function getAttachment(house: House, call: CouchCall, database: Database, id: string, name: string) {
  const row = await findDocument(house, database, id);
  const wanted = call.query.get('rev');
  if (wanted !== undefined && formatRevision(parseRevision(wanted)) !== revOf(row)) throw notFound('missing');
  const found = attachmentsOf(row).find(([known]) => known === name)?.[1];
  if (!found) throw notFound('Document is missing attachment');
  const etag = `"${found.digest.replace(/^md5-/, '')}"`;
  if (isKnown(call, etag)) return call.reply.code(304).header('etag', etag).send();
  const headers = {
    'content-type': found.content_type,
    // Of length 0 couchdb-python makes no attachment at all, and its callers fail: an empty log goes out in chunks.
    ...(found.length === 0 && call.method === 'GET'
      ? { 'transfer-encoding': 'chunked' }
      : { 'content-length': String(found.length) }),
    'content-md5': found.digest.replace(/^md5-/, ''),
    'cache-control': 'must-revalidate',
    // A stored page of somebody else never runs as one of ours.
    'content-security-policy': "sandbox; default-src 'none'",
    'x-content-type-options': 'nosniff',
    etag,
  };
  if (call.method === 'HEAD') return call.reply.code(200).headers(headers).send();
  const { bytes } = await house.pool.getBlob(agentFor(database, null), database.name, found.blob, 0);
  return call.reply.code(200).headers(headers).send(bytes);
}

/** PUT /db/id/name: the bytes go to the blob store as they come, and then into the document. */
export async function putAttachment(house: House, call: CouchCall, database: Database, id: string, name: string) {
  checkAttachmentName(name);
  requirePlain(call);
  const type = call.request.headers['content-type'] ?? 'application/octet-stream';
  const { raw } = call.request;
  const directory = await mkdtemp(join(tmpdir(), 'pilotage-attachment-'));
  try {
    const received = await spool(raw, join(directory, 'bytes'));
    const stream = createReadStream(join(directory, 'bytes'));
    await house.pool.putBlob(
      agentFor(database, call.visitor.name),
      { project: database.name, digest: received.blob },
      { id: randomUUID(), offset: 0, length: received.length },
      stream,
    );
    return await changeAttachments(house, call, database, id, { [name]: { content_type: type, ...received } }, null);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

export async function deleteAttachment(house: House, call: CouchCall, database: Database, id: string, name: string) {
  const row = await findDocument(house, database, id);
  if (!attachmentsOf(row).some(([known]) => known === name)) throw notFound('Document is missing attachment');
  return changeAttachments(house, call, database, id, {}, name);
}

async function spool(from: Readable, file: string): Promise<{ blob: string; digest: string; length: number }> {
  const sha256 = createHash('sha256');
  const md5 = createHash('md5');
  let length = 0;
  const look = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      sha256.update(chunk);
      md5.update(chunk);
      length += chunk.length;
      done(null, chunk);
    },
  });
  await pipeline(from, look, createWriteStream(file, { mode: 0o600 }));
  return { blob: sha256.digest('hex'), digest: `md5-${md5.digest('base64')}`, length };
}

/** A new revision with one attachment more, another one, or one fewer; the fields stay. */
async function changeAttachments(
  house: House,
  call: CouchCall,
  database: Database,
  id: string,
  added: Readonly<Record<string, NewAttachment>>,
  removed: string | null,
) {
  if (id.startsWith('_design/')) requireAdminOf(call.visitor, database);
  const given = call.query.get('rev') ?? call.request.headers['if-match'];
  const rev = given === undefined ? null : parseRevision(given);
  const row = await findDocument(house, database, checkId(id)).catch((error: unknown) => {
    // To a document that is not there the attachment brings an empty one.
    if (error instanceof CouchError && error.status === 404 && removed === null) return undefined;
    throw error;
  });
  const stubs = row ? attachmentsOf(row).map(([name]): [string, NewAttachment] => [name, { stub: true }]) : [];
  const attachments = { ...Object.fromEntries(stubs.filter(([name]) => name !== removed)), ...added };
  const document = { id, rev, deleted: false, fields: row ? fieldsWithout(row) : {}, attachments };
  const [answer] = await writeDocuments(house.parts, database, call.visitor.name ?? database.owner, [document]);
  if (!answer?.ok) throw answer ? toRefusal(answer, id) : new Error('a write has an answer');
  const text = formatRevision(answer.rev);
  return sendJson(call, removed === null ? 201 : 200, { ok: true, id, rev: text }, { etag: `"${text}"` });
}

function fieldsWithout(row: DocumentRow): Record<string, unknown> {
  const { _id, _rev, _attachments, ...fields } = showDocument(row);
  return fields;
}
