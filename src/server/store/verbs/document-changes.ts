import type { Db } from '../db.ts';
import { firstRow } from '../db.ts';
import { DOCUMENT, type DocumentRow, documentRows, OF_TASK } from '../document-rows.ts';
import { sql } from '../sql.ts';

/** A place in the changes of a database: everything up to `after`, and of the submission that was let go next, up to `idx`. */
export interface ChangePosition {
  readonly after: number;
  readonly opened?: { readonly submission: number; readonly idx: number; readonly sequence: number };
}

export interface ChangePage {
  readonly changes: readonly DocumentRow[];
  readonly position: ChangePosition;
  readonly more: boolean;
  /** Number of the newest change when it was read. */
  readonly newest: number;
}

interface ChangeRange {
  readonly projectId: number;
  readonly position: ChangePosition;
  readonly limit: number;
}

/**
 * What changed after a place, oldest first: documents, tasks, and all tasks of a submission that was let go, which
 * changes none of their rows. What changes again comes again, later.
 */
export async function readChanges(db: Db, input: ChangeRange): Promise<ChangePage> {
  return { ...(await readPage(db, input)), newest: await newestChange(db, input.projectId) };
}

/** Of all tasks, whosever they are: numbers are the same row of numbers everywhere. */
export async function newestChange(db: Db, projectId: number): Promise<number> {
  const row = await firstRow<{ newest: number | null }>(
    db,
    sql`select max(newest) as newest from (
      select max(sequence) as newest from tasks
      union all select max(sequence) from documents where project_id = ${projectId}
      union all select max(opened) from submissions where project_id = ${projectId} and opened > 0
    ) as each_kind`,
  );
  return Number(row?.newest ?? 0);
}

async function readPage(db: Db, input: ChangeRange): Promise<Omit<ChangePage, 'newest'>> {
  const { projectId, position } = input;
  if (position.opened) return openedTasks(db, input, position.opened);
  const opening = await firstRow<{ id: number; opened: number }>(
    db,
    sql`select id, opened from submissions where project_id = ${projectId} and opened > 0 and opened > ${position.after} and gate <> 'loading' order by opened limit 1`,
  );
  const { rows, end } = await rowsAfter(db, input, opening?.opened ?? Number.MAX_SAFE_INTEGER);
  if (end !== null) return { changes: rows, position: { after: end }, more: true };
  const last = rows.at(-1)?.sequence ?? position.after;
  if (!opening) return { changes: rows, position: { after: last }, more: false };
  const next = { submission: opening.id, idx: -1, sequence: opening.opened };
  return { changes: rows, position: { after: last, opened: next }, more: true };
}

async function openedTasks(
  db: Db,
  { position, limit }: ChangeRange,
  opened: NonNullable<ChangePosition['opened']>,
): Promise<Omit<ChangePage, 'newest'>> {
  const changes = await documentRows(
    db,
    sql`select ${DOCUMENT} ${FROM_TASKS} where t.submission_id = ${opened.submission} and t.idx > ${opened.idx} and s.gate <> 'loading'
      order by t.idx limit ${limit}`,
  );
  const last = changes.length < limit ? undefined : changes.at(-1)?.task?.idx;
  const after = last === undefined ? Math.max(position.after, opened.sequence) : position.after;
  return {
    changes,
    position: { after, ...(last === undefined ? {} : { opened: { ...opened, idx: last } }) },
    more: true,
  };
}

const FROM_TASKS = sql`from tasks t join submissions s on s.id = t.submission_id
  left join documents d on d.submission_id = t.submission_id and d.idx = t.idx left join workers w on w.session_id = t.session_id`;

/** `end` is null when that was all; else what is behind it comes with the next page. */
async function rowsAfter(
  db: Db,
  { projectId, position: { after }, limit }: ChangeRange,
  upTo: number,
): Promise<{ rows: DocumentRow[]; end: number | null }> {
  const documents = await documentRows(
    db,
    sql`select ${DOCUMENT} from documents d ${OF_TASK}
      where d.project_id = ${projectId} and d.sequence > ${after} and d.sequence <= ${upTo} and (d.submission_id is null or d.deleted = 1) order by d.sequence limit ${limit}`,
  );
  // The plus keeps SQLite from walking through all tasks of the project to find the few that changed.
  const tasks = await documentRows(
    db,
    sql`select ${DOCUMENT} ${FROM_TASKS} where t.sequence > ${after} and t.sequence <= ${upTo} and +s.project_id = ${projectId} and s.gate <> 'loading' and s.opened < t.sequence
      and (d.id is null or d.deleted = 0) order by t.sequence limit ${limit}`,
  );
  const ends = [documents, tasks].flatMap((rows) => (rows.length < limit ? [] : [rows.at(-1)?.sequence ?? upTo]));
  const end = Math.min(...ends);
  const rows = [...documents, ...tasks].filter((row) => row.sequence <= end).sort((a, b) => a.sequence - b.sequence);
  return { rows, end: ends.length === 0 ? null : end };
}

/** From here on somebody follows the changes of a project: what is forgotten leaves a mark. */
export async function followChanges(db: Db, input: { projectId: number }): Promise<void> {
  await db.run(sql`update projects set followed = 1 where id = ${input.projectId} and followed = 0`);
}

/**
 * PostgreSQL only: how far numbers of changes were given out. Numbers become visible in the order of commits, not in
 * their own: whoever took one of them has a transaction older than `before`, and all transactions older than `oldest`
 * are over. Null where nothing was given out since `settled`, up to which all is known to be visible.
 */
export async function changeHorizon(
  db: Db,
  input: { settled: number },
): Promise<{ readonly last: number; readonly oldest: string; readonly before: string } | null> {
  if (db.dialect !== 'postgres') return null;
  // In this order: who took a number had a transaction before (see nextSequence), and so one older than ours. The
  // end of a snapshot would not do: a transaction that is under way may be newer than that.
  const given = await firstRow<{ last: number }>(
    db,
    sql`select case when is_called then last_value else 0 end as last from change_sequence`,
  );
  if (!given || given.last <= input.settled) return null;
  const own = await firstRow<{ before: string }>(db, sql`select pg_current_xact_id()::text as before`);
  const seen = await firstRow<{ oldest: string }>(
    db,
    sql`select pg_snapshot_xmin(pg_current_snapshot())::text as oldest`,
  );
  return own && seen ? { ...given, ...own, ...seen } : null;
}
