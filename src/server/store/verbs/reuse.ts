import { recordUses } from '../blob-uses.ts';
import { type Db, firstRow } from '../db.ts';
import { sql } from '../sql.ts';

/** The end of a question in which a task's index stands: its tasks ask the same only when they have the same one. */
export const BY_INDEX = '#index';
const CHUNK = 5000;
/** Of many submissions that asked the same the newest are looked at. */
const NEWEST = 50;

export interface Pair {
  readonly idx: number;
  readonly from_submission: number;
  readonly from_idx: number;
  readonly from_attempt: number;
  readonly first_source: string | null;
  readonly exit_code: number | null;
  readonly outputs: string | null;
  readonly log_digests: string | null;
}

/**
 * Answers tasks of a submission that is still loading from tasks that asked the same and succeeded: same question of
 * the submission (command, environment, inputs, outputs), and same payload and own inputs, or, without a payload, the
 * same index. Looks at some thousand tasks a call; `next` null: all were looked at.
 */
export async function answerReused(
  db: Db,
  input: { id: number; after: number; graceMs: number },
): Promise<{ next: number | null; answered: number }> {
  const submission = await firstRow<{ project_id: number; question: string | null; gate: string }>(
    db,
    sql`select project_id, question, gate from submissions where id = ${input.id} and request_id is not null ${db.lock.rows}`,
  );
  if (submission?.gate !== 'loading' || submission.question === null) return { next: null, answered: 0 };
  const end = await firstRow<{ idx: number }>(
    db,
    sql`select idx from tasks where submission_id = ${input.id} and idx > ${input.after} order by idx limit 1 offset ${CHUNK - 1}`,
  );
  const pairs = await findPairs(db, {
    id: input.id,
    after: input.after,
    until: end?.idx ?? Number.MAX_SAFE_INTEGER,
    projectId: submission.project_id,
    question: submission.question,
  });
  const kept = await holdAnswers(db, submission.project_id, input, pairs);
  await answer(db, input.id, kept);
  return { next: end?.idx ?? null, answered: kept.length };
}

interface Range {
  readonly id: number;
  readonly after: number;
  readonly until: number;
  readonly projectId: number;
  readonly question: string;
}

interface Asking {
  readonly idx: number;
  readonly payload: string | null;
  readonly inputs: string | null;
}

/** For each task the newest answer. */
async function findPairs(db: Db, range: Range): Promise<Pair[]> {
  const sources = await lockSources(db, range);
  if (sources.length === 0) return [];
  const mine = sql`t.submission_id = ${range.id} and t.idx > ${range.after} and t.idx <= ${range.until} and t.state = 'queued'`;
  const byIndex = range.question.endsWith(BY_INDEX);
  const asking = Map.groupBy(
    await db.rows<Asking>(sql`select t.idx, t.payload, t.inputs from tasks t where ${mine}`),
    (task) => questionOfTask(task, byIndex),
  );
  const newest = new Map<number, Pair>();
  for (const id of sources) {
    const answers = await db.rows<Asking & { attempt: number; reused_from: string | null; exit_code: number | null }>(
      sql`select a.idx, a.payload, a.inputs, a.attempt, a.reused_from, a.exit_code from tasks a where a.submission_id = ${id} and a.state = 'succeeded'
        and ((a.payload is null and a.idx in (select t.idx from tasks t where ${mine} and t.payload is null))
          or a.payload in (select t.payload from tasks t where ${mine} and t.payload is not null))`,
    );
    for (const answer of answers)
      for (const { idx } of asking.get(questionOfTask(answer, byIndex)) ?? [])
        if (!newest.has(idx))
          newest.set(idx, {
            idx,
            from_submission: id,
            from_idx: answer.idx,
            from_attempt: answer.attempt,
            first_source: answer.reused_from,
            exit_code: answer.exit_code,
            outputs: null,
            log_digests: null,
          });
  }
  return withOutputs(db, [...newest.values()]);
}

/** Those that asked the same, newest first. Nobody forgets one while answers are taken from it. */
async function lockSources(db: Db, { id, projectId, question }: Range): Promise<number[]> {
  const shared = db.dialect === 'postgres' ? sql`for key share` : sql``;
  const rows = await db.rows<{ id: number }>(sql`select id from submissions where gate <> 'loading' and id in (
      select id from submissions where project_id = ${projectId} and question = ${question} and gate <> 'loading' and id <> ${id} order by id desc limit ${NEWEST}
    ) order by id ${shared}`);
  return rows.map((row) => row.id).reverse();
}

/** What a task asks besides its submission: its payload, whatever its index unless that counts, or without one its index; and its own inputs. */
function questionOfTask({ idx, payload, inputs }: Asking, byIndex: boolean): string {
  const index = byIndex || payload === null || inputs?.includes('{index}') ? idx : '';
  return `${index}\n${payload ?? ''}\n${payload === null}\n${inputs ?? ''}`;
}

/** With what the source left; without those whose attempt is not there. */
export async function withOutputs(db: Db, pairs: readonly Pair[]): Promise<Pair[]> {
  if (pairs.length === 0) return [];
  const given = db.table(sourcesOf(pairs));
  const attempts = await db.rows<{
    submission_id: number;
    idx: number;
    outputs: string | null;
  }>(sql`select a.submission_id, a.idx, a.outputs from attempts a
    where (a.submission_id, a.idx, a.attempt) in (select f_submission, f_idx, f_attempt from ${given} as given) and a.outcome = 'succeeded'`);
  const logs = await db.rows<{
    submission_id: number;
    idx: number;
    digest: string;
  }>(sql`select l.submission_id, l.idx, l.digest from logs l
    where (l.submission_id, l.idx, l.attempt) in (select f_submission, f_idx, f_attempt from ${given} as given) and l.digest is not null`);
  const outputs = new Map(attempts.map((row) => [`${row.submission_id}.${row.idx}`, row.outputs]));
  const digests = Map.groupBy(logs, (row) => `${row.submission_id}.${row.idx}`);
  return pairs.flatMap((pair) => {
    const key = `${pair.from_submission}.${pair.from_idx}`;
    if (!outputs.has(key)) return [];
    const log = (digests.get(key) ?? []).map((row) => row.digest);
    return [{ ...pair, outputs: outputs.get(key) ?? null, log_digests: log.length > 0 ? JSON.stringify(log) : null }];
  });
}

function sourcesOf(pairs: readonly Pair[]) {
  return {
    f_submission: ['bigint', pairs.map((pair) => pair.from_submission)],
    f_idx: ['bigint', pairs.map((pair) => pair.from_idx)],
    f_attempt: ['bigint', pairs.map((pair) => pair.from_attempt)],
    f_to: ['bigint', pairs.map((pair) => pair.idx)],
    f_from: ['text', pairs.map((pair) => pair.first_source ?? `${pair.from_submission}.${pair.from_idx}`)],
  } as const;
}

/** An answer whose files are just being removed is none. What is taken is referred to from here on. */
export async function holdAnswers(
  db: Db,
  projectId: number,
  { id, graceMs }: { id: number; graceMs: number },
  pairs: readonly Pair[],
): Promise<Pair[]> {
  const digestsOf = (pair: Pair): string[] => [
    ...(JSON.parse(pair.outputs ?? '[]') as { digest: string }[]).map((output) => output.digest),
    ...(JSON.parse(pair.log_digests ?? '[]') as string[]),
  ];
  const wanted = [...new Set(pairs.flatMap(digestsOf))].sort();
  if (wanted.length === 0) return [...pairs];
  const given = db.table({ m_digest: ['text', wanted] });
  const until = db.now + graceMs;
  const held = await db.rows<{ digest: string }>(sql`update blobs
    set held_until = case when held_until < ${until} then ${until} else held_until end
    where project_id = ${projectId} and gone = 0 and digest in (select m_digest from ${given} as given) returning digest`);
  const there = new Set(held.map((row) => row.digest));
  const kept = pairs.filter((pair) => digestsOf(pair).every((digest) => there.has(digest)));
  await recordUses(
    db,
    kept.flatMap(digestsOf).map((digest) => ({ projectId, submissionId: id, digest })),
  );
  return kept;
}

/** As if the task had run once, elsewhere: it has an attempt with the outputs and logs of the one that did. */
async function answer(db: Db, id: number, pairs: readonly Pair[]): Promise<void> {
  if (pairs.length === 0) return;
  await copyAnswers(db, { id, attempt: 1 }, pairs);
  const given = db.table({ ...sourcesOf(pairs), f_target: ['bigint', pairs.map(() => id)] });
  await db.run(sql`update tasks set state = 'succeeded', attempt = 1, finished_at = ${db.now}, reused_from = f_from,
      exit_code = (select a.exit_code from attempts a where a.submission_id = f_submission and a.idx = f_idx and a.attempt = f_attempt),
      revision = revision + 1, sequence = ${db.nextSequence}
    from ${given} as given where submission_id = f_target and idx = f_to`);
  await db.run(sql`update submissions set reused = reused + ${pairs.length} where id = ${id}`);
}

/** Outcome, outputs and logs of the sources as those of an attempt of the tasks that they answer. */
export async function copyAnswers(
  db: Db,
  { id, attempt }: { id: number; attempt: number },
  pairs: readonly Pair[],
): Promise<void> {
  // Left joins that lose no row: SQLite would else go through the list anew for each row of a table.
  const given = db.table(sourcesOf(pairs));
  await db.run(sql`insert into attempts (submission_id, idx, attempt, outcome, ended_at, exit_code, message, wall_seconds, cpu_seconds, peak_memory, outputs, result)
    select cast(${id} as bigint), f_to, cast(${attempt} as bigint), 'succeeded', cast(${db.now} as bigint), a.exit_code, 'answered from task ' || f_from || ', which asked the same',
      a.wall_seconds, a.cpu_seconds, a.peak_memory, a.outputs, a.result
    from ${given} as given left join attempts a on a.submission_id = f_submission and a.idx = f_idx and a.attempt = f_attempt`);
  await db.run(sql`insert into logs (submission_id, idx, attempt, stream, start_offset, data, digest, size)
    select cast(${id} as bigint), f_to, cast(${attempt} as bigint), l.stream, l.start_offset, l.data, l.digest, l.size
    from ${given} as given left join logs l on l.submission_id = f_submission and l.idx = f_idx and l.attempt = f_attempt
    where coalesce(l.stream, '') <> ''`);
}
