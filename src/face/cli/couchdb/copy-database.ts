import { PilotageError } from '../../../ground/base/errors.ts';
import { type CouchdbClient, describeCouchdbError } from '../../../ground/client/couchdb-client.ts';

export interface CopyEnd {
  readonly client: CouchdbClient;
  readonly database: string;
  /** For messages. */
  readonly name: string;
}

export interface Copied {
  readonly documents: number;
  readonly designs: number;
  readonly attachments: number;
  /** Those that stood at the target already, in this version or a newer one. */
  readonly unchanged: number;
}

type Document = Record<string, unknown> & { readonly _id: string; readonly _rev: string };

interface Attachment {
  readonly content_type: string;
  readonly digest: string;
  readonly length: number;
}

const PAGE = 500;
/** Documents with smaller attachments go with them inside; larger ones follow as streams. */
const INLINE_BYTES = 4 * 1024 * 1024;

/**
 * Copies every document of a database with its attachments, in the versions that it has: what is there already stays,
 * and of two versions the newer one, so that a copy that broke off is simply begun again.
 */
export async function copyDatabase(
  from: CopyEnd,
  to: CopyEnd,
  progress: (done: number, total: number) => void,
): Promise<Copied> {
  let sums: Copied = { documents: 0, designs: 0, attachments: 0, unchanged: 0 };
  let last: string | undefined;
  for (;;) {
    const { rows, total } = await readPage(from, last);
    if (rows.length === 0) return sums;
    sums = add(sums, await copyPage(from, to, rows));
    progress(sums.documents + sums.designs, total);
    last = rows.at(-1)?._id;
  }
}

async function readPage(from: CopyEnd, last: string | undefined): Promise<{ rows: Document[]; total: number }> {
  const start = last === undefined ? '' : `&startkey=${encodeURIComponent(JSON.stringify(last))}&skip=1`;
  const path = `/${encodeURIComponent(from.database)}/_all_docs?include_docs=true&limit=${PAGE}${start}`;
  const { status, value } = await from.client.json('GET', path);
  const { rows, total_rows: total } = value as { rows?: { doc?: Document | null }[]; total_rows?: number };
  if (status !== 200 || !rows) throw refused(from, 'could not be read', status, value);
  return { rows: rows.flatMap(({ doc }) => (doc ? [doc] : [])), total: total ?? 0 };
}

function refused(end: CopyEnd, what: string, status: number, value: unknown): PilotageError {
  const advice =
    status === 401 || status === 403
      ? ': give name and password with --login-file'
      : status === 404
        ? ': is that its name?'
        : '';
  return new PilotageError(
    'transfer-failed',
    `${end.name} ${what} (${status}, ${describeCouchdbError(value)})${advice}`,
  );
}

async function copyPage(from: CopyEnd, to: CopyEnd, rows: readonly Document[]): Promise<Copied> {
  const named = (doc: Document): Document => ({ ...doc, _id: targetId(doc._id) });
  const plain = rows.filter((doc) => bytesOf(doc) <= INLINE_BYTES);
  const large = rows.filter((doc) => bytesOf(doc) > INLINE_BYTES);
  let sums = await sendWhole(to, (await Promise.all(plain.map((doc) => withBytes(from, doc)))).map(named));
  for (const doc of large) sums = add(sums, await sendLarge(from, to, doc));
  return sums;
}

/** Names that begin so are those of tasks of a server itself: elsewhere they would be taken for other ones. */
function targetId(id: string): string {
  return id.replace(/^pilotage:/, 'task-of-pilotage:');
}

function attachmentsOf(doc: Document): [string, Attachment][] {
  return Object.entries((doc._attachments ?? {}) as Record<string, Attachment>);
}

function bytesOf(doc: Document): number {
  return attachmentsOf(doc).reduce((sum, [, { length }]) => sum + length, 0);
}

/** The page tells of attachments; their bytes come with the document itself. */
async function withBytes(from: CopyEnd, doc: Document): Promise<Document> {
  if (attachmentsOf(doc).length === 0) return doc;
  const path = `${pathOf(from.database, doc._id)}?attachments=true&rev=${doc._rev}`;
  const { status, value } = await from.client.json('GET', path);
  if (status !== 200) throw refused(from, `did not give the document '${doc._id}'`, status, value);
  return value as Document;
}

export function pathOf(database: string, id: string): string {
  const name = id.startsWith('_design/') ? `_design/${encodeURIComponent(id.slice(8))}` : encodeURIComponent(id);
  return `/${encodeURIComponent(database)}/${name}`;
}

/** Keeps the versions; then asks what stands there, so that nothing is believed that was not seen. */
async function sendWhole(to: CopyEnd, docs: readonly Document[]): Promise<Copied> {
  if (docs.length === 0) return { documents: 0, designs: 0, attachments: 0, unchanged: 0 };
  const before = await versionsAt(to, docs);
  const wanted = docs.filter((doc) => before.get(doc._id) !== doc._rev);
  if (wanted.length > 0) {
    const { status, value } = await to.client.json('POST', `/${encodeURIComponent(to.database)}/_bulk_docs`, {
      docs: wanted,
      new_edits: false,
    });
    if (status !== 201) throw refused(to, 'did not take documents', status, value);
    const [first] = (value as { id?: string; error?: string; reason?: string }[]).filter((row) => row.error);
    if (first) throw refused(to, `did not take the document '${first.id}'`, status, first);
  }
  const after = await versionsAt(to, wanted);
  const lost = wanted.find((doc) => !isAtLeast(after.get(doc._id), doc._rev));
  if (lost)
    throw new PilotageError(
      'transfer-failed',
      `${to.name} took the document '${lost._id}', but does not have it: try again, and report it if it stays so`,
    );
  const arrived = wanted.filter((doc) => after.get(doc._id) === doc._rev);
  const designs = arrived.filter((doc) => doc._id.startsWith('_design/')).length;
  return {
    documents: arrived.length - designs,
    designs,
    attachments: arrived.reduce((sum, doc) => sum + attachmentsOf(doc).length, 0),
    unchanged: docs.length - arrived.length,
  };
}

function isAtLeast(rev: string | undefined, wanted: string): boolean {
  if (rev === undefined) return false;
  const number = (text: string) => Number(text.split('-')[0]);
  return rev === wanted || number(rev) > number(wanted) || (number(rev) === number(wanted) && rev > wanted);
}

async function versionsAt(to: CopyEnd, docs: readonly Document[]): Promise<Map<string, string>> {
  if (docs.length === 0) return new Map();
  const { status, value } = await to.client.json('POST', `/${encodeURIComponent(to.database)}/_all_docs`, {
    keys: docs.map((doc) => doc._id),
  });
  const { rows } = value as { rows?: { id?: string; value?: { rev: string; deleted?: boolean } | null }[] };
  if (status !== 200 || !rows) throw refused(to, 'could not be asked what it has', status, value);
  return new Map(rows.flatMap(({ id, value: has }) => (id !== undefined && has ? [[id, has.rev] as const] : [])));
}

/** The document first, then each large attachment as a stream: every one is a version of its own. */
async function sendLarge(from: CopyEnd, to: CopyEnd, doc: Document): Promise<Copied> {
  const path = pathOf(to.database, targetId(doc._id));
  const { _attachments, _id, ...bare } = doc;
  const there = await to.client.json('GET', path);
  if (there.status === 200 && hasAll(there.value as Document, doc))
    return { documents: 0, designs: 0, attachments: 0, unchanged: 1 };
  const { _rev, ...fields } = bare;
  const standing = there.status === 200 ? { _rev: (there.value as Document)._rev } : {};
  let { status, value } = await to.client.json('PUT', path, { ...fields, ...standing });
  if (status !== 201) throw refused(to, `did not take the document '${doc._id}'`, status, value);
  for (const [name, attachment] of attachmentsOf(doc)) {
    const rev = (value as { rev: string }).rev;
    const bytes = await from.client.download(`${pathOf(from.database, doc._id)}/${encodeURIComponent(name)}`);
    ({ status, value } = await to.client.upload(
      `${path}/${encodeURIComponent(name)}?rev=${rev}`,
      attachment.content_type,
      bytes,
      attachment.length,
    ));
    if (status !== 201) throw refused(to, `did not take '${name}' of the document '${doc._id}'`, status, value);
  }
  const arrived = await to.client.json('GET', path);
  if (!hasAll(arrived.value as Document, doc))
    throw new PilotageError(
      'transfer-failed',
      `attachments of '${doc._id}' arrived at ${to.name} with other bytes: try again`,
    );
  return { documents: 1, designs: 0, attachments: attachmentsOf(doc).length, unchanged: 0 };
}

function hasAll(there: Document, doc: Document): boolean {
  const has = new Map(attachmentsOf(there));
  return attachmentsOf(doc).every(([name, { digest }]) => has.get(name)?.digest === digest);
}

function add(a: Copied, b: Copied): Copied {
  return {
    documents: a.documents + b.documents,
    designs: a.designs + b.designs,
    attachments: a.attachments + b.attachments,
    unchanged: a.unchanged + b.unchanged,
  };
}
