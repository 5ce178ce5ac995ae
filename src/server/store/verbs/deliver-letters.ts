import {
  type Channel,
  judgeTry,
  type NoticeKind,
  type RetrySettings,
  type TryOutcome,
  type WindowSettings,
  windowAfter,
} from '../../core/notice.ts';
import { type Db, firstRow } from '../db.ts';
import { EMPTY, type Sql, sql } from '../sql.ts';
import type { NoticeFacts } from './write-notices.ts';

/** Who delivers: letters of a server that is not alive any more are taken over. */
export interface Deliverer {
  readonly channel: Channel;
  readonly server: string;
  readonly aliveWithinMs: number;
  /** Addresses that are busy. */
  readonly except: readonly string[];
}

/** A letter with what it takes to write it. */
export interface TakenLetter {
  readonly id: number;
  /** The same at every try. */
  readonly uid: string;
  readonly kind: NoticeKind;
  readonly address: string;
  readonly createdAt: number;
  /** The number of this try, and with it the fence: who took it before has nothing to say any more. */
  readonly tries: number;
  /** The next letter about failures waits for so long; milliseconds. */
  readonly windowMs: number;
  readonly service: string;
  readonly title: string | null;
  readonly project: string;
  readonly archiveMs: number | null;
  /** How many there are, and the first of them. */
  readonly notices: number;
  readonly told: readonly { readonly at: number; readonly facts: NoticeFacts }[];
}

const MOST_TOLD = 200;

function isReady(db: Db, { channel, server, aliveWithinMs, except }: Deliverer): Sql {
  const alive = sql`select id from servers where alive_at >= ${db.now - aliveWithinMs}`;
  const busy =
    except.length === 0
      ? EMPTY
      : sql`and l.address not in (select m_a from ${db.table({ m_a: ['text', except] })} as busy)`;
  return sql`l.channel = ${channel} and l.state = 'waiting' and l.due_at <= ${db.now}
    and (l.server_id is null or l.lease_until <= ${db.now} 
      or (l.server_id <> ${server} and l.server_id not in (${alive}))) ${busy}`;
}

/** Is there a letter to take, and if not: in how many milliseconds will there be one, as far as is known? */
export async function lettersDue(db: Db, input: Deliverer): Promise<{ isReady: boolean; inMs: number | null }> {
  const ready = await firstRow<{ id: number }>(db, sql`select l.id from letters l where ${isReady(db, input)} limit 1`);
  if (ready) return { isReady: true, inMs: 0 };
  const next = await firstRow<{ due_at: number }>(
    db,
    sql`select due_at from letters where channel = ${input.channel} and state = 'waiting' and due_at > ${db.now} order by due_at limit 1`,
  );
  return { isReady: false, inMs: next ? next.due_at - db.now : null };
}

/** The next letter, for this server alone until the lease is over. From now on it takes in nothing more. */
export async function takeLetter(
  db: Db,
  input: Deliverer & WindowSettings & { leaseMs: number },
): Promise<TakenLetter | null> {
  const found = await firstRow<{ id: number; delayed_by: number; window_ms: number | null }>(
    db,
    sql`select l.id, l.delayed_by, l.window_ms from letters l where ${isReady(db, input)} order by l.due_at, l.id limit 1 ${db.lock.skipLocked}`,
  );
  if (!found) return null;
  const windowMs = found.window_ms ?? windowAfter(found.delayed_by, input);
  await db.run(sql`update letters set tries = tries + 1, first_try_at = coalesce(first_try_at, ${db.now}),
    closed_at = coalesce(closed_at, ${db.now}), window_ms = ${windowMs}, quiet_until = coalesce(quiet_until, ${db.now + windowMs}),
    server_id = ${input.server}, lease_until = ${db.now + input.leaseMs} where id = ${found.id}`);
  return readLetter(db, found.id);
}

interface LetterRow {
  readonly uid: string;
  readonly kind: NoticeKind;
  readonly address: string;
  readonly created_at: number;
  readonly tries: number;
  readonly window_ms: number;
  readonly notices: number;
  readonly service: string;
  readonly title: string | null;
  readonly project: string;
  readonly archive_ms: number | null;
}

async function readLetter(db: Db, id: number): Promise<TakenLetter | null> {
  const row = await firstRow<LetterRow>(
    db,
    sql`select l.uid, l.kind, l.address, l.created_at, l.tries, l.window_ms, l.notices, s.name as service, s.title, s.archive_ms, p.name as project
      from letters l join services s on s.id = l.service_id join projects p on p.id = s.project_id where l.id = ${id}`,
  );
  if (!row) return null;
  const told = await db.rows<{ at: number; facts: string }>(
    sql`select at, facts from notices where letter_id = ${id} order by id limit ${MOST_TOLD}`,
  );
  const { uid, kind, address, tries, notices, service, title, project } = row;
  return {
    id,
    uid,
    kind,
    address,
    tries,
    notices,
    service,
    title,
    project,
    createdAt: row.created_at,
    windowMs: row.window_ms,
    archiveMs: row.archive_ms,
    told: told.map(({ at, facts }) => ({ at, facts: JSON.parse(facts) })),
  };
}

export interface FinishInput extends RetrySettings {
  readonly id: number;
  readonly tries: number;
  readonly outcome: TryOutcome;
  readonly error: string | null;
}

/** What came of a try. Null: the lease was over, and somebody else has the letter. */
export async function finishLetter(db: Db, input: FinishInput): Promise<'sent' | 'waiting' | 'given-up' | null> {
  const row = await firstRow<{ first_try_at: number }>(
    db,
    sql`select first_try_at from letters where id = ${input.id} and tries = ${input.tries} and state = 'waiting' ${db.lock.rows}`,
  );
  if (!row) return null;
  const next = judgeTry(
    { outcome: input.outcome, tries: input.tries, firstTryAt: row.first_try_at, now: db.now },
    input,
  );
  const due = next.state === 'waiting' ? sql`due_at = ${next.dueAt}` : sql`ended_at = ${db.now}`;
  await db.run(sql`update letters set state = ${next.state}, ${due}, server_id = null, lease_until = 0,
    last_error = ${input.error} where id = ${input.id}`);
  return next.state;
}

/** What could not be delivered goes at once: the way is free again. To one address, or to all of a channel. */
export async function hastenLetters(db: Db, input: { channel: Channel; address: string | null }): Promise<number> {
  const to = input.address === null ? EMPTY : sql`and address = ${input.address}`;
  return db.run(sql`update letters set due_at = ${db.now} where channel = ${input.channel} and state = 'waiting'
    and tries > 0 and server_id is null and due_at > ${db.now} ${to}`);
}

/** Letters that ended so long ago go, with what was in them. */
export async function forgetLetters(db: Db, input: { olderThanMs: number; most: number }): Promise<number> {
  const old = await db.rows<{ id: number }>(
    sql`select id from letters where ended_at is not null and ended_at < ${db.now - input.olderThanMs} order by ended_at limit ${input.most}`,
  );
  if (old.length === 0) return 0;
  const given = db.table({ m_id: ['bigint', old.map(({ id }) => id)] });
  await db.run(sql`delete from notices where letter_id in (select m_id from ${given} as given)`);
  return db.run(sql`delete from letters where id in (select m_id from ${given} as given)`);
}

export interface LetterCounts {
  /** Mails and calls of web hooks that are still to be delivered, and those that were given up. */
  readonly waiting: number;
  readonly waitingMails: number;
  readonly failed: number;
  readonly lastError: string | null;
}

export async function countLetters(db: Db, input: { serviceId: number }): Promise<LetterCounts> {
  const counts = await db.rows<{ state: string; channel: Channel; n: number }>(
    sql`select state, channel, count(*) as n from letters where service_id = ${input.serviceId} and state <> 'sent' group by state, channel`,
  );
  const last = await firstRow<{ last_error: string }>(
    db,
    sql`select last_error from letters where service_id = ${input.serviceId} and state <> 'sent' and last_error is not null order by id desc limit 1`,
  );
  const sum = (fits: (row: { state: string; channel: Channel }) => boolean): number =>
    counts.filter(fits).reduce((all, { n }) => all + Number(n), 0);
  return {
    waiting: sum(({ state }) => state === 'waiting'),
    waitingMails: sum(({ state, channel }) => state === 'waiting' && channel === 'mail'),
    failed: sum(({ state }) => state === 'given-up'),
    lastError: last?.last_error ?? null,
  };
}
