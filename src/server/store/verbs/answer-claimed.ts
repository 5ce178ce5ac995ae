import { type Db, firstRow } from '../db.ts';
import { sql } from '../sql.ts';
import { applyMoves, TASK_ROW, type TaskRow } from '../task-rows.ts';
import { copyAnswers, holdAnswers, type Pair, withOutputs } from './reuse.ts';

export interface ClaimedQuestion {
  readonly submission: number;
  readonly idx: number;
  readonly attempt: number;
  /** All that decides the answer of this task: known when its inputs from other tasks are. */
  readonly question: string;
  /** May it be answered from another task? Its question is written down in any case. */
  readonly reuse: boolean;
  readonly graceMs: number;
}

/** A task that was just claimed is answered from one that asked the same and succeeded, if there is one: then it is not run. */
export async function answerClaimed(db: Db, input: ClaimedQuestion): Promise<'answered' | 'ask'> {
  const of = db.dialect === 'postgres' ? sql`for update of t` : sql``;
  const task = await firstRow<TaskRow>(
    db,
    sql`select ${TASK_ROW} from tasks t join submissions s on s.id = t.submission_id
    where t.submission_id = ${input.submission} and t.idx = ${input.idx} ${of}`,
  );
  if (task?.state !== 'running' || task.attempt !== input.attempt) return 'ask';
  const pair = input.reuse ? await findAnswer(db, task, input) : undefined;
  await db.run(
    sql`update tasks set question = ${input.question} where submission_id = ${input.submission} and idx = ${input.idx}`,
  );
  if (!pair) return 'ask';
  await applyMoves(db, [
    {
      task,
      state: 'succeeded',
      attemptState: 'reported',
      exitCode: pair.exit_code,
      failures: task.failures,
      losses: task.losses,
      plannedEnds: task.planned_ends,
    },
  ]);
  await copyAnswers(db, { id: input.submission, attempt: input.attempt }, [pair]);
  const from = pair.first_source ?? `${pair.from_submission}.${pair.from_idx}`;
  await db.run(
    sql`update tasks set reused_from = ${from} where submission_id = ${input.submission} and idx = ${input.idx}`,
  );
  await db.run(sql`update submissions set reused = reused + 1 where id = ${input.submission}`);
  return 'answered';
}

async function findAnswer(db: Db, task: TaskRow, input: ClaimedQuestion): Promise<Pair | undefined> {
  const source = await firstRow<{
    submission_id: number;
    idx: number;
    attempt: number;
    reused_from: string | null;
    exit_code: number | null;
  }>(
    db,
    sql`select a.submission_id, a.idx, a.attempt, a.reused_from, a.exit_code from tasks a join submissions s on s.id = a.submission_id
    where a.question = ${input.question} and a.state = 'succeeded' and s.project_id = ${task.project_id} and s.gate <> 'loading'
    order by a.submission_id desc, a.idx limit 1`,
  );
  if (!source) return undefined;
  const pair: Pair = {
    idx: input.idx,
    from_submission: source.submission_id,
    from_idx: source.idx,
    from_attempt: source.attempt,
    first_source: source.reused_from,
    exit_code: source.exit_code,
    outputs: null,
    log_digests: null,
  };
  const found = await withOutputs(db, [pair]);
  const [kept] = await holdAnswers(db, task.project_id, { id: input.submission, graceMs: input.graceMs }, found);
  return kept;
}
