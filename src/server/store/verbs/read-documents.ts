import type { Db } from '../db.ts';
import { firstRow } from '../db.ts';
import {
  DOCUMENT,
  type DocumentRow,
  documentRows,
  OF_TASK,
  parseTaskDocumentId,
  TASK_PREFIX,
} from '../document-rows.ts';
import { joinSql, type Sql, sql } from '../sql.ts';

/** Documents of these ids, also deleted ones, in no order. What is not there is left out. */
export async function getDocuments(
  db: Db,
  input: { projectId: number; ids: readonly string[] },
): Promise<DocumentRow[]> {
  return findDocuments(db, input.projectId, input.ids);
}

export async function findDocuments(db: Db, projectId: number, ids: readonly string[]): Promise<DocumentRow[]> {
  if (ids.length === 0) return [];
  const given = db.table({ m_id: ['text', ids] });
  const own = await documentRows(
    db,
    sql`select ${DOCUMENT} from documents d ${OF_TASK} where d.project_id = ${projectId} and d.id in (select m_id from ${given} as given)`,
  );
  const found = new Set(own.map((row) => row.id));
  const keys = ids.flatMap((id) => (found.has(id) ? [] : (parseTaskDocumentId(id) ?? [])));
  if (keys.length === 0) return own;
  const tasks = db.table({
    m_submission: ['bigint', keys.map((key) => key.submission)],
    m_idx: ['bigint', keys.map((key) => key.idx)],
  });
  const alone = await documentRows(
    db,
    sql`select ${DOCUMENT} ${FROM_TASKS} where s.project_id = ${projectId} and s.gate <> 'loading' and d.id is null
      and (t.submission_id, t.idx) in (select m_submission, m_idx from ${tasks} as given)`,
  );
  return [...own, ...alone];
}

/** Every task with its document, if it has one. */
const FROM_TASKS = sql`from tasks t join submissions s on s.id = t.submission_id
  left join documents d on d.submission_id = t.submission_id and d.idx = t.idx left join workers w on w.session_id = t.session_id`;

export interface DocumentRange {
  readonly projectId: number;
  /** From this id on, in the order of the ids; with `descending`, backwards. Null: from the end. */
  readonly from: string | null;
  readonly fromIncluded: boolean;
  readonly to: string | null;
  readonly toIncluded: boolean;
  readonly descending: boolean;
  readonly limit: number;
}

/**
 * A page of the documents in the order of their ids, without deleted ones. Ids are ordered as bytes; only those of
 * tasks without a name of their own stand together where `pilotage:` stands, in the order of their numbers.
 */
export async function listDocuments(db: Db, range: DocumentRange): Promise<DocumentRow[]> {
  const parts = [documentsBefore, tasksInBetween, documentsAfter];
  const found: DocumentRow[] = [];
  for (const part of range.descending ? parts.reverse() : parts) {
    const left = range.limit - found.length;
    if (left <= 0) break;
    found.push(...(await part(db, { ...range, limit: left })));
  }
  return found;
}

/** The id after all ids of tasks. */
const AFTER_TASKS = 'pilotage;';

function documentsBefore(db: Db, range: DocumentRange): Promise<DocumentRow[]> {
  return ownDocuments(db, range, sql`and ${byBytes(db, sql`d.id`)} < ${TASK_PREFIX}`);
}

function documentsAfter(db: Db, range: DocumentRange): Promise<DocumentRow[]> {
  return ownDocuments(db, range, sql`and ${byBytes(db, sql`d.id`)} >= ${AFTER_TASKS}`);
}

function byBytes(db: Db, text: Sql): Sql {
  return db.dialect === 'postgres' ? sql`${text} collate "C"` : text;
}

function ownDocuments(db: Db, range: DocumentRange, segment: Sql): Promise<DocumentRow[]> {
  const id = byBytes(db, sql`d.id`);
  const bounds: Sql[] = [];
  const { descending, from, fromIncluded, to, toIncluded } = range;
  if (from !== null) bounds.push(compare(id, descending ? 'down' : 'up', fromIncluded, sql`${from}`));
  if (to !== null) bounds.push(compare(id, descending ? 'up' : 'down', toIncluded, sql`${to}`));
  return documentRows(
    db,
    sql`select ${DOCUMENT} from documents d ${OF_TASK} where d.project_id = ${range.projectId} and d.deleted = 0 ${segment}
      ${joinSql(bounds, sql``)} order by ${id} ${descending ? sql`desc` : sql``} limit ${range.limit}`,
  );
}

function compare(what: Sql, direction: 'up' | 'down', included: boolean, bound: Sql): Sql {
  if (direction === 'up') return included ? sql` and ${what} >= ${bound}` : sql` and ${what} > ${bound}`;
  return included ? sql` and ${what} <= ${bound}` : sql` and ${what} < ${bound}`;
}

async function tasksInBetween(db: Db, range: DocumentRange): Promise<DocumentRow[]> {
  const { descending, from, fromIncluded, to, toIncluded } = range;
  const bounds: Sql[] = [];
  for (const [bound, included, direction] of [
    [from, fromIncluded, descending ? 'down' : 'up'],
    [to, toIncluded, descending ? 'up' : 'down'],
  ] as const) {
    if (bound === null) continue;
    const key = parseTaskDocumentId(bound);
    if (key)
      bounds.push(compare(sql`(t.submission_id, t.idx)`, direction, included, sql`(${key.submission}, ${key.idx})`));
    // All tasks stand on one side of any other id.
    else if (bound < AFTER_TASKS && bound >= TASK_PREFIX ? false : bound < TASK_PREFIX !== (direction === 'up'))
      return [];
  }
  const order = descending ? sql`t.submission_id desc, t.idx desc` : sql`t.submission_id, t.idx`;
  return documentRows(
    db,
    sql`select ${DOCUMENT} ${FROM_TASKS} where s.project_id = ${range.projectId} and s.gate <> 'loading'
      and (d.id is null or (d.deleted = 0 and d.id like 'pilotage:%')) ${joinSql(bounds, sql``)} order by ${order} limit ${range.limit}`,
  );
}

/** How many documents there are, and the number of the newest change. */
export async function databaseFacts(
  db: Db,
  input: { projectId: number },
): Promise<{ documents: number; deleted: number; sequence: number }> {
  const { projectId } = input;
  const own = await firstRow<{ there: number; deleted: number; linked: number; sequence: number | null }>(
    db,
    sql`select coalesce(sum(1 - deleted), 0) as there, coalesce(sum(deleted), 0) as deleted,
      coalesce(sum(case when submission_id is null then 0 else 1 end), 0) as linked, max(sequence) as sequence
      from documents where project_id = ${projectId}`,
  );
  const tasks = await firstRow<{ n: number | null }>(
    db,
    sql`select sum(tasks) as n from submissions where project_id = ${projectId} and gate <> 'loading'`,
  );
  // Of all projects: numbers of changes are the same row of numbers everywhere.
  const newest = await firstRow<{ sequence: number }>(
    db,
    sql`select sequence from tasks order by sequence desc limit 1`,
  );
  return {
    documents: Number(own?.there ?? 0) + Number(tasks?.n ?? 0) - Number(own?.linked ?? 0),
    deleted: Number(own?.deleted ?? 0),
    sequence: Math.max(Number(own?.sequence ?? 0), newest?.sequence ?? 0),
  };
}
