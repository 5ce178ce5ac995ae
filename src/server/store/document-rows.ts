import { hash } from 'node:crypto';
import { parseExact } from '../../ground/base/exact-json.ts';
import { type Gate, shownState } from '../core/submission.ts';
import { type Fields, saysState, type TokenTask, withTask } from '../core/token.ts';
import type { Db } from './db.ts';
import { type Sql, sql } from './sql.ts';
import { TASK_ROW, type TaskRow } from './task-rows.ts';

/**
 * A document of the CouchDB face. That of a task carries the task; a task that no client ever wrote to has no row of
 * its own: its document is made from the task alone.
 */
export interface DocumentRow {
  readonly id: string;
  /** Of the last write; what happens to the task after that counts on from there (see `revisionOf`). */
  readonly revision: number;
  readonly rev_hash: string;
  readonly task_revision: number;
  readonly deleted: number;
  /** JSON: the fields, without `_id`, `_rev` and `_attachments`. */
  readonly body: string;
  /** JSON: see `Attachments`. */
  readonly attachments: string | null;
  /** Of the task, when it was written last. */
  readonly doc_attempt: number;
  /** JSON: who claimed it, and when; see `PastClaim`. */
  readonly claims: string | null;
  /** Of the newest change: that of the task, which counts each write of its document too, as long as there is one. */
  readonly sequence: number;
  /** False: there is no row of its own. */
  readonly stored: boolean;
  readonly task: DocumentTask | null;
}

export interface DocumentTask extends TaskRow {
  readonly revision: number;
  readonly finished_at: number | null;
  readonly not_before: number | null;
  readonly payload: string | null;
  readonly spec: string;
  readonly submission_name: string | null;
  readonly host: string | null;
}

export type Attachments = Readonly<
  Record<
    string,
    {
      readonly content_type: string;
      /** `md5-` and base64, as CouchDB has it. */
      readonly digest: string;
      readonly length: number;
      readonly revpos: number;
      /** SHA-256: where the bytes are. */
      readonly blob: string;
    }
  >
>;

export interface PastClaim {
  readonly attempt: number;
  readonly claim: string;
}

/** Tasks that came by another face have documents called so. */
export const TASK_PREFIX = 'pilotage:';

export function taskDocumentId(submission: number, idx: number): string {
  return `${TASK_PREFIX}${submission}.${idx}`;
}

export function parseTaskDocumentId(id: string): { submission: number; idx: number } | null {
  const found = /^pilotage:(\d{1,15})\.(\d{1,15})$/.exec(id);
  return found ? { submission: Number(found[1]), idx: Number(found[2]) } : null;
}

interface JoinedRow extends Partial<TaskRow> {
  readonly d_id: string | null;
  readonly d_revision: number | null;
  readonly d_hash: string | null;
  readonly d_task_revision: number | null;
  readonly d_deleted: number | null;
  readonly d_body: string | null;
  readonly d_attachments: string | null;
  readonly d_attempt: number | null;
  readonly d_claims: string | null;
  readonly d_sequence: number | null;
  readonly t_revision: number | null;
  readonly t_sequence: number | null;
  readonly finished_at: number | null;
  readonly not_before: number | null;
  readonly payload: string | null;
  readonly spec: string | null;
  readonly submission_name: string | null;
  readonly host: string | null;
}

/** The columns of a document with its task, from `documents d`, `tasks t`, `submissions s` and `workers w`, whichever is there. */
export const DOCUMENT: Sql = sql`d.id as d_id, d.revision as d_revision, d.rev_hash as d_hash, d.task_revision as d_task_revision, d.deleted as d_deleted,
  d.body as d_body, d.attachments as d_attachments, d.attempt as d_attempt, d.claims as d_claims, d.sequence as d_sequence,
  ${TASK_ROW}, t.revision as t_revision, t.sequence as t_sequence, t.finished_at, t.not_before, t.payload, s.spec, s.name as submission_name, w.host`;

export const OF_TASK: Sql = sql`left join tasks t on t.submission_id = d.submission_id and t.idx = d.idx
  left join submissions s on s.id = t.submission_id left join workers w on w.session_id = t.session_id`;

export function toDocument(row: JoinedRow): DocumentRow {
  const task = row.submission_id == null ? null : toTask(row);
  if (row.d_id === null) return ofTaskAlone(task as DocumentTask, row.t_sequence ?? 0);
  return {
    id: row.d_id,
    revision: row.d_revision ?? 0,
    rev_hash: row.d_hash ?? '',
    task_revision: row.d_task_revision ?? 0,
    deleted: row.d_deleted ?? 0,
    body: row.d_body ?? '{}',
    attachments: row.d_attachments,
    doc_attempt: row.d_attempt ?? 0,
    claims: row.d_claims,
    sequence: (task !== null && row.d_deleted === 0 ? row.t_sequence : row.d_sequence) ?? 0,
    stored: true,
    task,
  };
}

function toTask(row: JoinedRow): DocumentTask {
  const { t_revision: revision, finished_at, not_before, payload, spec, submission_name, host } = row;
  const task = row as unknown as TaskRow;
  return {
    ...task,
    revision: revision ?? 0,
    finished_at,
    not_before,
    payload,
    spec: spec ?? '{}',
    submission_name,
    host,
  };
}

function ofTaskAlone(task: DocumentTask, sequence: number): DocumentRow {
  const id = taskDocumentId(task.submission_id, task.idx);
  return {
    id,
    revision: 1,
    rev_hash: md5(id),
    task_revision: 1,
    deleted: 0,
    body: JSON.stringify(fieldsOfTask(task)),
    attachments: null,
    doc_attempt: 0,
    claims: null,
    sequence,
    stored: false,
    task,
  };
}

/** A native task as a token: what it is to run, and with what. */
function fieldsOfTask(task: DocumentTask): Fields {
  const { command } = JSON.parse(task.spec) as { command?: unknown };
  return {
    type: 'token',
    lock: 0,
    done: 0,
    hostname: '',
    scrub_count: 0,
    exit_code: '',
    input: task.payload === null ? '' : parseExact(task.payload),
    ...(command === undefined ? {} : { command }),
    ...(task.submission_name === null ? {} : { name: task.submission_name }),
    task: `${task.submission_id}.${task.idx}`,
  };
}

export function isSetAside(task: DocumentTask): boolean {
  return task.state === 'waiting' && (task.not_before ?? 0) >= SET_ASIDE_UNTIL;
}

/** A token that is in no view waits for a time that never comes. */
export const SET_ASIDE_UNTIL = 9_000_000_000_000_000;

function tokenTask(task: DocumentTask): TokenTask {
  return {
    state: shownState(task.state, task.gate as Gate),
    attempt: task.attempt,
    claimedAt: task.claimed_at,
    finishedAt: task.finished_at,
    exitCode: task.exit_code,
    reason: task.reason,
    host: task.host,
  };
}

/** The fields as they are now, whoever changed the task last. */
export function fieldsOf(row: DocumentRow): Fields {
  const fields = parseExact(row.body) as Fields;
  if (row.task === null) return fields;
  const task = tokenTask(row.task);
  return saysState(fields, row.doc_attempt, task) ? fields : withTask(fields, row.doc_attempt, task);
}

export interface Revision {
  readonly number: number;
  readonly hash: string;
}

/** Each change of the task counts one; behind a gate, which no row of a task tells of, the hash is another. */
export function revisionOf(row: DocumentRow): Revision {
  const since = row.task === null ? 0 : row.task.revision - row.task_revision;
  const gated = row.task !== null && row.task.gate !== 'open' ? ':gated' : '';
  if (since === 0 && gated === '') return { number: row.revision, hash: row.rev_hash };
  return { number: row.revision + since, hash: md5(`${row.rev_hash}:${since}${gated}`) };
}

export function formatRevision({ number, hash: text }: Revision): string {
  return `${number}-${text}`;
}

export function md5(text: string): string {
  return hash('md5', text, 'hex');
}

export async function documentRows(db: Db, statement: Sql): Promise<DocumentRow[]> {
  return (await db.rows<JoinedRow>(statement)).map(toDocument);
}

/** As JSON text, as views and clients get it: identity first, then the fields in their own order. */
export function textOf(row: DocumentRow): string {
  const fields = row.task === null ? row.body : JSON.stringify(fieldsOf(row));
  const head = `{"_id":${JSON.stringify(row.id)},"_rev":"${formatRevision(revisionOf(row))}"`;
  return fields === '{}' ? `${head}}` : `${head},${fields.slice(1)}`;
}
