import { parseExact } from '../../../ground/base/exact-json.ts';
import { judgeLoss } from '../../core/task.ts';
import { type Fields, scrubbed, tokenState, withError } from '../../core/token.ts';
import type { Db } from '../db.ts';
import {
  DOCUMENT,
  type DocumentRow,
  type DocumentTask,
  documentRows,
  md5,
  OF_TASK,
  revisionOf,
} from '../document-rows.ts';
import { sql } from '../sql.ts';
import { applyMoves, toFacts } from '../task-rows.ts';
import { endAttempts } from './end-token-attempts.ts';
import { lockTasks } from './report-attempts.ts';
import { isHeldByClient } from './token-holders.ts';

interface Held extends DocumentRow {
  readonly task: DocumentTask;
}

/**
 * Gives back tokens whose holders were silent for too long: free again and counted, or in error after so many tries.
 * The revision moves, so that whoever held it is refused. Returns their projects.
 */
export async function rescueTokens(db: Db, input: { maxScrubs: number }): Promise<number[]> {
  const skip = db.dialect === 'postgres' ? sql`for update of d skip locked` : sql``;
  const due = await db.rows<{
    project_id: number;
    id: string;
    submission_id: number;
    idx: number;
    max_scrubs: number | null;
  }>(
    sql`select d.project_id, d.id, d.submission_id, d.idx, p.max_scrubs from documents d join projects p on p.id = d.project_id
      where d.lock_until < ${db.now} and d.submission_id is not null order by d.lock_until limit 200 ${skip}`,
  );
  if (due.length === 0) return [];
  if (db.dialect === 'postgres')
    await lockTasks(
      db,
      due.map((one) => ({ submission: one.submission_id, idx: one.idx })),
    );
  const rescued: number[] = [];
  for (const one of due) if (await rescueOne(db, one, one.max_scrubs ?? input.maxScrubs)) rescued.push(one.project_id);
  return rescued;
}

async function rescueOne(db: Db, key: { project_id: number; id: string }, maxScrubs: number): Promise<boolean> {
  const [row] = await documentRows(
    db,
    sql`select ${DOCUMENT} from documents d ${OF_TASK} where d.project_id = ${key.project_id} and d.id = ${key.id}`,
  );
  const isHeld =
    row?.task?.state === 'running' &&
    isHeldByClient(row.task) &&
    tokenState(parseExact(row.body) as Fields) === 'locked';
  if (!row || !isHeld) {
    await db.run(sql`update documents set lock_until = null where project_id = ${key.project_id} and id = ${key.id}`);
    return false;
  }
  await giveBack(db, key.project_id, row as Held, maxScrubs);
  return true;
}

async function giveBack(db: Db, projectId: number, row: Held, maxScrubs: number): Promise<void> {
  const { task } = row;
  const fields = scrubbed(parseExact(row.body) as Fields);
  const { next, counters } = judgeLoss(toFacts(task), { retries: 0, backoffMs: 0, lost: maxScrubs, ended: 0 });
  const isOver = next.state === 'failed';
  const why = `its pilot was not heard of any more, ${counters.losses} time(s)`;
  await applyMoves(db, [
    { task, state: next.state, attemptState: 'open', reason: isOver ? 'worker-lost' : null, ...counters },
  ]);
  await endAttempts(db, [
    { task, outcome: 'lost', exitCode: null, message: 'the client that held the token was not heard of any more' },
  ]);
  await rewrite(
    db,
    projectId,
    row,
    isOver ? withError(fields, `${why}: no more than ${maxScrubs} are tried`, db.now) : fields,
  );
}

/** A claim whose reply never left the server: nobody knows of it, so nobody is charged. Returns whether it was undone. */
export async function undoClaim(
  db: Db,
  input: { projectId: number; id: string; revision: { number: number; hash: string } },
): Promise<boolean> {
  if (db.dialect === 'postgres')
    await db.rows(sql`select id from documents where project_id = ${input.projectId} and id = ${input.id} for update`);
  const find = () =>
    documentRows(
      db,
      sql`select ${DOCUMENT} from documents d ${OF_TASK} where d.project_id = ${input.projectId} and d.id = ${input.id}`,
    );
  const [seen] = await find();
  if (!seen?.task) return false;
  if (db.dialect === 'postgres') await lockTasks(db, [{ submission: seen.task.submission_id, idx: seen.task.idx }]);
  const [row] = await find();
  const at = row && revisionOf(row);
  if (row?.task?.state !== 'running' || at?.number !== input.revision.number || at.hash !== input.revision.hash)
    return false;
  const { task } = row;
  const { failures, losses, planned_ends: plannedEnds } = task;
  await applyMoves(db, [{ task, state: 'queued', attemptState: 'open', failures, losses, plannedEnds }]);
  await endAttempts(db, [
    { task, outcome: 'released', exitCode: null, message: 'the reply to the claim could not be sent' },
  ]);
  const { scrub_count: count } = parseExact(row.body) as Fields;
  await rewrite(db, input.projectId, row as Held, { ...scrubbed(parseExact(row.body) as Fields), scrub_count: count });
  return true;
}

/** The document as the server itself changes it, together with its task. */
async function rewrite(db: Db, projectId: number, row: Held, fields: Fields): Promise<void> {
  const body = JSON.stringify(fields);
  const { number, hash } = revisionOf(row);
  await db.run(sql`update documents set body = ${body}, revision = ${number + 1}, rev_hash = ${md5(`${hash}:${body}`)},
    task_revision = ${row.task.revision + 1}, lock_until = null, sequence = ${db.nextSequence}
    where project_id = ${projectId} and id = ${row.id}`);
}
