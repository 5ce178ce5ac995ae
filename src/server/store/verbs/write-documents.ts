import { PilotageError } from '../../../ground/base/errors.ts';
import { parseExact } from '../../../ground/base/exact-json.ts';
import { judgeToken } from '../../core/judge-token.ts';
import { type Fields, isToken } from '../../core/token.ts';
import { type Db, firstRow } from '../db.ts';
import {
  type Attachments,
  type DocumentRow,
  fieldsOf,
  isSetAside,
  md5,
  type Revision,
  revisionOf,
} from '../document-rows.ts';
import { sql } from '../sql.ts';
import type { Decided, DocumentWrite, TokenStep, TokenWriter, WriteAnswer } from './document-write.ts';
import { hideTasks } from './hide-tasks.ts';
import { keepLateToken } from './late-tokens.ts';
import { findDocuments } from './read-documents.ts';
import { lockTasks } from './report-attempts.ts';
import { storeDocuments } from './store-documents.ts';
import { writeTokens } from './write-tokens.ts';

export interface WriteDocumentsInput extends TokenWriter {
  readonly projectId: number;
  readonly writes: readonly DocumentWrite[];
}

export interface WriteDocumentsResult {
  readonly answers: readonly WriteAnswer[];
  /** Workers that are to look at what they hold. */
  readonly sessions: readonly string[];
  readonly submissions: readonly number[];
}

/**
 * Writes documents, each judged on its own, all in one transaction. The revision is the fence of a client; what it
 * does to a token's task goes the way of every task. A result that comes too late is kept aside.
 */
export async function writeDocuments(db: Db, input: WriteDocumentsInput): Promise<WriteDocumentsResult> {
  const standing = await lockDocuments(db, input);
  const answers: WriteAnswer[] = [];
  const decided: Decided[] = [];
  const written = new Set<string>();
  for (const write of input.writes) {
    const row = standing.get(write.id);
    const outcome = written.has(write.id) ? ({ ok: false, why: 'conflict' } as const) : decide(write, row);
    if (!('next' in outcome)) {
      answers.push(outcome);
      if (row?.task && outcome.why === 'conflict') await keepLateToken(db, { ...write, row });
      continue;
    }
    written.add(write.id);
    decided.push(outcome);
    const claimed = outcome.token.kind === 'act' && outcome.token.act === 'claim';
    answers.push({ ok: true, rev: outcome.rev, claimed });
  }
  const links = await writeTokens(db, input, decided);
  await storeDocuments(db, input, decided, links.links);
  await hideTasks(db, input.projectId, decided);
  return { answers, sessions: links.sessions, submissions: links.submissions };
}

/** Documents in the order of their ids, then their tasks; a new id is nobody else's meanwhile. */
async function lockDocuments(db: Db, { projectId, writes }: WriteDocumentsInput): Promise<Map<string, DocumentRow>> {
  const ids = [...new Set(writes.map((write) => write.id))].sort();
  const find = async () => new Map((await findDocuments(db, projectId, ids)).map((row) => [row.id, row]));
  if (db.dialect !== 'postgres') return find();
  const project = await firstRow(db, sql`select id from projects where id = ${projectId}`);
  if (!project) throw new PilotageError('not-found', 'the project is gone');
  const given = db.table({ m_id: ['text', ids] });
  const lock = async () =>
    db.rows(
      sql`select id from documents where project_id = ${projectId} and id in (select m_id from ${given} as given) order by id for update`,
    );
  if ((await lock()).length < ids.length) {
    await db.rows(sql`select pg_advisory_xact_lock(7305, cast(${projectId} as int))`);
    await lock();
  }
  const tasks = [...(await find()).values()].flatMap((row) =>
    row.task === null ? [] : [{ submission: row.task.submission_id, idx: row.task.idx }],
  );
  if (tasks.length > 0) await lockTasks(db, tasks);
  return find();
}

type Refused = Extract<WriteAnswer, { ok: false }>;

function decide(write: DocumentWrite, row: DocumentRow | undefined): Decided | Refused {
  const there = row !== undefined && row.deleted === 0;
  if (!there && write.id.startsWith('pilotage:')) return { ok: false, why: 'reserved' };
  const current = row === undefined ? undefined : revisionOf(row);
  if (write.kept) return decideCopy(write, row, current);
  if (write.deleted && !there) return { ok: false, why: row === undefined ? 'missing' : 'deleted' };
  const fits = sameRevision(write.rev, current) || (!there && row !== undefined && write.rev === null);
  if (!fits) return { ok: false, why: 'conflict' };
  return accept(write, row, nextRevision(write, current));
}

/** Of two copies the one with the higher revision stays, as everywhere in CouchDB's world. */
function decideCopy(
  write: DocumentWrite,
  row: DocumentRow | undefined,
  current: Revision | undefined,
): Decided | Refused {
  const kept = write.kept as Revision;
  if (current && !isNewer(kept, current)) return { ok: false, why: 'conflict' };
  return accept(write, row, kept);
}

function isNewer(a: Revision, b: Revision): boolean {
  return a.number === b.number ? a.hash > b.hash : a.number > b.number;
}

function accept(write: DocumentWrite, row: DocumentRow | undefined, rev: Revision): Decided | Refused {
  const attachments = mergeAttachments(write, row, rev.number);
  if ('ok' in attachments) return attachments as Refused;
  const next = parseExact(write.body) as Fields;
  const token = stepOf(write, row, next);
  if ('ok' in token) return token;
  return { write, row, rev, attachments: attachments as Attachments, next, token };
}

function stepOf(write: DocumentWrite, row: DocumentRow | undefined, next: Fields): TokenStep | Refused {
  const task = row?.deleted === 0 ? row.task : null;
  const wantsTask = !write.deleted && isToken(next);
  if (!task) return { kind: wantsTask ? 'new' : 'none' };
  if (!wantsTask) return { kind: 'drop' };
  const standing = {
    fields: fieldsOf(row as DocumentRow),
    isGated: (task.state === 'waiting' && !isSetAside(task)) || task.gate !== 'open',
    wasHeldBefore: task.attempt > 1 || task.losses > 0,
    sameAttachments: bringsTheSame(write, row as DocumentRow),
  };
  const verdict = judgeToken(standing, next);
  if (verdict.ok) return { kind: 'act', act: verdict.act };
  return verdict.why === 'waiting' ? { ok: false, why: 'waiting' } : { ok: false, why: 'conflict', what: verdict.why };
}

function bringsTheSame({ attachments }: DocumentWrite, row: DocumentRow): boolean {
  const stored = Object.keys(JSON.parse(row.attachments ?? '{}') as Attachments);
  const given = Object.entries(attachments);
  return given.length === stored.length && given.every(([name, one]) => 'stub' in one && stored.includes(name));
}

function mergeAttachments(write: DocumentWrite, row: DocumentRow | undefined, revpos: number): Attachments | Refused {
  if (write.deleted) return {};
  const stored = JSON.parse(row?.attachments ?? '{}') as Attachments;
  const merged: Record<string, Attachments[string]> = {};
  for (const [name, attachment] of Object.entries(write.attachments)) {
    if (!('stub' in attachment)) merged[name] = { ...attachment, revpos };
    else if (Object.hasOwn(stored, name)) merged[name] = stored[name] as Attachments[string];
    else return { ok: false, why: 'missing-stub', what: name };
  }
  return merged;
}

function sameRevision(a: Revision | null, b: Revision | undefined): boolean {
  if (a === null || b === undefined) return a === null && b === undefined;
  return a.number === b.number && a.hash === b.hash;
}

function nextRevision(write: DocumentWrite, current: Revision | undefined): Revision {
  const number = (current?.number ?? 0) + 1;
  const attachments = JSON.stringify(write.attachments);
  return { number, hash: md5(`${current?.hash ?? ''}:${write.deleted}:${write.id}:${write.body}:${attachments}`) };
}
