import type { Fields } from '../core/token.ts';
import { type Attachments, type DocumentRow, fieldsOf, formatRevision, revisionOf } from '../store/document-rows.ts';

export interface ShowOptions {
  /** The revisions that are known: only the newest one is kept. */
  readonly revs?: boolean;
  /** The bytes of attachments by name, as base64, where they are wanted. */
  readonly bytes?: ReadonlyMap<string, string>;
}

/** A document as clients get it. Deleted ones are nothing but a mark. */
export function showDocument(row: DocumentRow, options: ShowOptions = {}): Record<string, unknown> {
  const rev = revisionOf(row);
  const head = { _id: row.id, _rev: formatRevision(rev) };
  if (row.deleted !== 0) return { ...head, _deleted: true };
  const attachments = attachmentsOf(row);
  return {
    ...head,
    ...fieldsOf(row),
    ...(attachments.length === 0
      ? {}
      : {
          _attachments: Object.fromEntries(
            attachments.map(([name, one]) => [name, showAttachment(one, options.bytes?.get(name))]),
          ),
        }),
    ...(options.revs ? { _revisions: { start: rev.number, ids: [rev.hash] } } : {}),
  };
}

export function attachmentsOf(row: DocumentRow): [string, Attachments[string]][] {
  return Object.entries(JSON.parse(row.attachments ?? '{}') as Attachments);
}

function showAttachment(one: Attachments[string], data: string | undefined): Fields {
  const { content_type, revpos, digest, length } = one;
  if (data === undefined) return { content_type, revpos, digest, length, stub: true };
  return { content_type, revpos, digest, data };
}

export function revOf(row: DocumentRow): string {
  return formatRevision(revisionOf(row));
}
