import type { Db } from '../db.ts';
import { md5, taskDocumentId } from '../document-rows.ts';
import { sql } from '../sql.ts';
import type { Decided } from './document-write.ts';

/**
 * A task whose token is no more stays in the pool, but must not come back as a document made from the task alone. As
 * long as the deleted document is there, it holds the task; where the document has another task by now, or is a token
 * no longer, a deleted document in the task's own name does.
 */
export async function hideTasks(db: Db, projectId: number, decided: readonly Decided[]): Promise<void> {
  const hidden = decided.flatMap(({ token, row, write }) => {
    const isLeft = token.kind === 'new' || (token.kind === 'drop' && !write.deleted);
    return isLeft && row?.task ? [row.task] : [];
  });
  if (hidden.length === 0) return;
  const ids = hidden.map((task) => taskDocumentId(task.submission_id, task.idx));
  const given = db.table({
    n_id: ['text', ids],
    n_hash: ['text', ids.map(md5)],
    n_revision: ['bigint', hidden.map((task) => task.revision + 1)],
    n_submission: ['bigint', hidden.map((task) => task.submission_id)],
    n_idx: ['bigint', hidden.map((task) => task.idx)],
  });
  await db.run(sql`insert into documents (project_id, id, revision, rev_hash, task_revision, deleted, body, submission_id, idx, sequence)
    select cast(${projectId} as bigint), n_id, n_revision, n_hash, n_revision, 1, '{}', n_submission, n_idx, ${db.nextSequence}
    from ${given} as given where true on conflict (project_id, id) do nothing`);
}
