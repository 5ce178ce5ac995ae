import type { Db } from '../db.ts';
import { sql } from '../sql.ts';
import type { Decided } from './document-write.ts';

/** The task of a document after a write, and what the document remembers of it. */
export interface TaskLink {
  readonly submission: number;
  readonly idx: number;
  readonly revision: number;
  readonly attempt: number;
  /** JSON: see `PastClaim`. */
  readonly claims: string | null;
  /** When the holder has been silent for too long; null: nobody holds it. */
  readonly lockUntil: number | null;
}

/** The rows of documents, and which blobs they need. */
export async function storeDocuments(
  db: Db,
  { projectId }: { readonly projectId: number },
  decided: readonly Decided[],
  links: ReadonlyMap<string, TaskLink>,
): Promise<void> {
  if (decided.length === 0) return;
  const link = (one: Decided) => links.get(one.write.id);
  const given = db.table({
    n_id: ['text', decided.map((one) => one.write.id)],
    n_revision: ['bigint', decided.map((one) => one.rev.number)],
    n_hash: ['text', decided.map((one) => one.rev.hash)],
    n_task_revision: ['bigint', decided.map((one) => link(one)?.revision ?? 0)],
    n_deleted: ['bigint', decided.map((one) => (one.write.deleted ? 1 : 0))],
    n_body: ['text', decided.map((one) => one.write.body)],
    n_attachments: ['text', decided.map((one) => attachmentsText(one))],
    n_submission: ['bigint', decided.map((one) => link(one)?.submission ?? null)],
    n_idx: ['bigint', decided.map((one) => link(one)?.idx ?? null)],
    n_attempt: ['bigint', decided.map((one) => link(one)?.attempt ?? 0)],
    n_claims: ['text', decided.map((one) => link(one)?.claims ?? null)],
    n_lock: ['bigint', decided.map((one) => link(one)?.lockUntil ?? null)],
  });
  await db.run(sql`insert into documents (project_id, id, revision, rev_hash, task_revision, deleted, body, attachments, submission_id, idx, attempt, claims, lock_until, sequence)
    select cast(${projectId} as bigint), n_id, n_revision, n_hash, n_task_revision, n_deleted, n_body, n_attachments, n_submission, n_idx, n_attempt, n_claims, n_lock, ${db.nextSequence}
    from ${given} as given where true
    on conflict (project_id, id) do update set revision = excluded.revision, rev_hash = excluded.rev_hash, task_revision = excluded.task_revision,
      deleted = excluded.deleted, body = excluded.body, attachments = excluded.attachments, submission_id = excluded.submission_id, idx = excluded.idx,
      attempt = excluded.attempt, claims = excluded.claims, lock_until = excluded.lock_until, sequence = excluded.sequence`);
  await useBlobs(db, projectId, decided);
}

function attachmentsText({ attachments }: Decided): string | null {
  return Object.keys(attachments).length === 0 ? null : JSON.stringify(attachments);
}

async function useBlobs(db: Db, projectId: number, decided: readonly Decided[]): Promise<void> {
  const touched = decided.filter(
    (one) => (one.row?.attachments ?? null) !== null || Object.keys(one.attachments).length > 0,
  );
  if (touched.length === 0) return;
  const ids = db.table({ m_id: ['text', touched.map((one) => one.write.id)] });
  await db.run(
    sql`delete from document_blobs where project_id = ${projectId} and document_id in (select m_id from ${ids} as given)`,
  );
  const uses = touched.flatMap((one) =>
    [...new Set(Object.values(one.attachments).map((attachment) => attachment.blob))].map((digest) => ({
      digest,
      id: one.write.id,
    })),
  );
  if (uses.length === 0) return;
  const given = db.table({
    m_digest: ['text', uses.map((use) => use.digest)],
    m_id: ['text', uses.map((use) => use.id)],
  });
  await db.run(sql`insert into document_blobs (project_id, digest, document_id)
    select cast(${projectId} as bigint), m_digest, m_id from ${given} as given where true on conflict do nothing`);
}
