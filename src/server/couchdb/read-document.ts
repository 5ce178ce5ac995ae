import { createHash } from 'node:crypto';
import { isDeeperThan } from '../../ground/base/json-depth.ts';
import type { NewDocument } from '../pool/documents.ts';
import type { Revision } from '../store/document-rows.ts';
import type { NewAttachment } from '../store/verbs/document-write.ts';
import { badRequest, CouchError } from './couch-error.ts';
import { asObject } from './request.ts';

/** Without attachments; the same limit as CouchDB's own. */
export const MAX_DOCUMENT_BYTES = 8_000_000;
const MAX_DEPTH = 500;
const MAX_ID_BYTES = 4096;

/** An attachment that came with its document, and is to be stored before it. */
export interface InlineAttachment {
  readonly name: string;
  readonly contentType: string;
  readonly bytes: Buffer;
}

export interface ReadDocument {
  readonly document: Omit<NewDocument, 'id'>;
  /** Undefined: the client leaves the choice to us. */
  readonly id: string | undefined;
  readonly inline: readonly InlineAttachment[];
}

/** Members that begin with an underscore and say nothing that is stored. */
const IGNORED = new Set([
  '_revs_info',
  '_conflicts',
  '_deleted_conflicts',
  '_local_seq',
  '_revisions',
  '_replication_id',
  '_replication_state',
  '_replication_state_time',
  '_replication_state_reason',
  '_replication_stats',
]);

/** Takes a document apart. `kept`: it keeps the revision that it brings (`new_edits` false). */
export function readDocument(value: unknown, options: { readonly kept?: boolean } = {}): ReadDocument {
  const given = asObject(value, 'Document');
  const fields: Record<string, unknown> = {};
  for (const [name, member] of Object.entries(given)) {
    if (!name.startsWith('_')) define(fields, name, member);
    else if (!['_id', '_rev', '_deleted', '_attachments'].includes(name) && !IGNORED.has(name))
      throw new CouchError(400, 'doc_validation', `Bad special document member: ${name}`);
  }
  const id = given._id;
  if (id !== undefined && typeof id !== 'string')
    throw new CouchError(400, 'illegal_docid', 'Document id must be a string');
  if (isDeeperThan(fields, MAX_DEPTH))
    throw badRequest(
      `the document${id === undefined ? '' : ` '${id}'`} nests deeper than ${MAX_DEPTH} levels: put deep data into an attachment`,
    );
  const deleted = given._deleted === true;
  const rev = given._rev === undefined || given._rev === null ? null : parseRevision(given._rev);
  if (options.kept && rev === null) throw badRequest('with new_edits=false every document needs its _rev');
  const { attachments, inline } = readAttachments(given._attachments);
  const document = { rev, deleted, fields, attachments, ...(options.kept && rev ? { kept: rev } : {}) };
  return { id, document, inline };
}

/** `__proto__` is a name like any other. */
function define(fields: Record<string, unknown>, name: string, value: unknown): void {
  Object.defineProperty(fields, name, { value, enumerable: true, configurable: true, writable: true });
}

export function checkId(id: string): string {
  if (id === '') throw new CouchError(400, 'illegal_docid', 'Document id must not be empty');
  if (id.startsWith('_') && !/^_design\/./.test(id))
    throw new CouchError(
      400,
      'illegal_docid',
      id.startsWith('_local/')
        ? 'Local documents are not kept here.'
        : 'Only reserved document ids may start with underscore.',
    );
  if (id.includes('\0')) throw new CouchError(400, 'illegal_docid', 'Document id must not contain the character NUL');
  if (Buffer.byteLength(id) > MAX_ID_BYTES)
    throw new CouchError(400, 'illegal_docid', `Document id is too long: at most ${MAX_ID_BYTES} bytes`);
  return id;
}

/** `N-hash`, also in quotes, as in an ETag. */
export function parseRevision(value: unknown): Revision {
  const text = typeof value === 'string' ? value.trim().replace(/^"(.*)"$/, '$1') : '';
  const found = /^(\d{1,15})-([0-9A-Za-z]{1,64})$/.exec(text);
  if (!found || Number(found[1]) === 0) throw badRequest('Invalid rev format');
  return { number: Number(found[1]), hash: found[2] as string };
}

function readAttachments(value: unknown): { attachments: Record<string, NewAttachment>; inline: InlineAttachment[] } {
  const attachments: Record<string, NewAttachment> = {};
  const inline: InlineAttachment[] = [];
  if (value === undefined || value === null) return { attachments, inline };
  for (const [name, one] of Object.entries(asObject(value, '_attachments'))) {
    checkAttachmentName(name);
    const attachment = asObject(one, `the attachment '${name}'`);
    if (attachment.stub === true) define(attachments, name, { stub: true });
    else if (typeof attachment.data === 'string')
      inline.push({
        name,
        contentType: contentTypeOf(attachment.content_type),
        bytes: fromBase64(name, attachment.data),
      });
    else throw badRequest(`the attachment '${name}' needs data (base64), or stub: true if it is here already`);
  }
  return { attachments, inline };
}

export function checkAttachmentName(name: string): void {
  if (name === '' || name.startsWith('_'))
    throw badRequest(`Attachment name '${name}' starts with prohibited character '_'`);
  if (name.includes('\0')) throw badRequest('Attachment name must not contain the character NUL');
}

function contentTypeOf(value: unknown): string {
  return typeof value === 'string' && /^[\x20-\x7e]{1,255}$/.test(value) ? value : 'application/octet-stream';
}

function fromBase64(name: string, text: string): Buffer {
  const plain = text.replace(/\s/g, '');
  if (!/^[A-Za-z0-9+/_-]*={0,2}$/.test(plain) || plain.replace(/=+$/, '').length % 4 === 1)
    throw badRequest(`Attachment data of '${name}' is not base64`);
  return Buffer.from(plain, 'base64');
}

/** What is known of bytes that are in the blob store. */
export function describeBytes(contentType: string, bytes: Buffer): { attachment: NewAttachment & { blob: string } } {
  const blob = createHash('sha256').update(bytes).digest('hex');
  const digest = `md5-${createHash('md5').update(bytes).digest('base64')}`;
  return { attachment: { content_type: contentType, digest, length: bytes.length, blob } };
}
