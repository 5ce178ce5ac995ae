import { randomUUID } from 'node:crypto';
import type { JobState } from '../../../ground/base/job-state.ts';
import { type Channel, departureOf, isGrouped, type NoticeKind } from '../../core/notice.ts';
import { type Db, firstRow } from '../db.ts';
import { sql } from '../sql.ts';
import type { ServiceJobRow } from './service-jobs.ts';
import type { ServiceRow } from './services.ts';

/** What the author of a service wants its user to read. */
export interface OwnMail {
  readonly subject?: string | undefined;
  readonly text: string;
}

export interface NoticedJob {
  readonly number: string;
  readonly name: string | null;
  readonly uid: string;
}

export interface NoticedFailure {
  readonly hook: string;
  readonly message: string;
  readonly stack: string | null;
}

/** What a notice tells, as it is kept. Links are none of it: they hold secrets. */
export interface NoticeFacts {
  readonly event?: string;
  readonly job?: NoticedJob;
  readonly mail?: OwnMail;
  readonly failure?: NoticedFailure;
  readonly host?: { readonly host: string; readonly pid: number; readonly reason: string };
}

/** So many of a letter's failures are kept with their stacks; of the others there is a line each. */
const WITH_STACK = 5;
const STACK_LENGTH = 8000;
const MESSAGE_LENGTH = 4000;
const SHORT_LENGTH = 300;

/** A job has come somewhere. `mail` is what its user is to read in place of the usual; null: nothing. Returns how many letters have to go. */
export async function noticeJob(
  db: Db,
  service: ServiceRow,
  { row, state, mail }: { row: ServiceJobRow; state: JobState; mail: OwnMail | null | undefined },
): Promise<number> {
  const { number, name, uid } = row;
  const job = { number, name, uid };
  const failure = state === 'FAILED' && row.failure !== null ? { failure: JSON.parse(row.failure) } : {};
  let told = 0;
  if (state === 'COMPLETED' && row.contact !== null && service.mail_users === 1 && mail !== null) {
    const facts = { job, ...(mail === undefined ? {} : { mail }) };
    await write(db, service, { kind: 'completed', channel: 'mail', address: row.contact, facts });
    told += 1;
  }
  if (state === 'FAILED') told += await tellAdmins(db, service, 'failed', { job, ...failure });
  return told + (await tellHooks(db, service, { event: `job.${state.toLowerCase()}`, job, ...failure }));
}

/** The host of a service has ended, and not as planned. */
export async function noticeHost(db: Db, service: ServiceRow, reason: string): Promise<number> {
  const { host = '?', pid = 0 } = JSON.parse(service.host ?? '{}') as { host?: string; pid?: number };
  const facts = { host: { host, pid, reason: reason.slice(0, MESSAGE_LENGTH) } };
  const told = await tellAdmins(db, service, 'host-failed', facts);
  return told + (await tellHooks(db, service, { event: 'host.failed', ...facts }));
}

async function tellAdmins(db: Db, service: ServiceRow, kind: NoticeKind, facts: NoticeFacts): Promise<number> {
  const admins = JSON.parse(service.mail_admins) as string[];
  for (const address of admins) await write(db, service, { kind, channel: 'mail', address, facts });
  return admins.length;
}

async function tellHooks(db: Db, service: ServiceRow, facts: NoticeFacts): Promise<number> {
  const urls = JSON.parse(service.webhooks) as string[];
  for (const address of urls) await write(db, service, { kind: 'event', channel: 'hook', address, facts });
  return urls.length;
}

interface NewNotice {
  readonly kind: NoticeKind;
  readonly channel: Channel;
  readonly address: string;
  readonly facts: NoticeFacts;
}

async function write(db: Db, service: ServiceRow, notice: NewNotice): Promise<void> {
  const letter =
    (isGrouped(notice.kind) && (await openLetter(db, service, notice))) || (await newLetter(db, service, notice));
  await db.run(sql`insert into notices (letter_id, at, facts)
    values (${letter.id}, ${db.now}, ${JSON.stringify(cut(notice.facts, letter.notices < WITH_STACK))})`);
  await db.run(sql`update letters set notices = notices + 1 where id = ${letter.id}`);
}

interface OpenLetter {
  readonly id: number;
  readonly notices: number;
}

/** One that was never sent. Where another server is about to send it, this waits until that is committed, and finds none. */
function openLetter(db: Db, service: ServiceRow, { kind, address }: NewNotice): Promise<OpenLetter | undefined> {
  return firstRow<OpenLetter>(
    db,
    sql`select id, notices from letters where service_id = ${service.id} and kind = ${kind} and address = ${address}
      and closed_at is null and state = 'waiting' order by id desc limit 1 ${db.lock.rows}`,
  );
}

async function newLetter(db: Db, service: ServiceRow, { kind, channel, address }: NewNotice): Promise<OpenLetter> {
  const last = isGrouped(kind) ? await lastWindow(db, service, { kind, address }) : undefined;
  const { dueAt, delayedBy } = departureOf(db.now, last);
  const made = await firstRow<{ id: number }>(
    db,
    sql`insert into letters (uid, service_id, channel, kind, address, created_at, due_at, delayed_by)
      values (${randomUUID()}, ${service.id}, ${channel}, ${kind}, ${address}, ${db.now}, ${dueAt}, ${delayedBy}) returning id`,
  );
  return { id: made?.id ?? 0, notices: 0 };
}

async function lastWindow(db: Db, service: ServiceRow, { kind, address }: { kind: NoticeKind; address: string }) {
  const last = await firstRow<{ quiet_until: number | null; window_ms: number | null }>(
    db,
    sql`select quiet_until, window_ms from letters where service_id = ${service.id} and kind = ${kind} and address = ${address}
      order by id desc limit 1`,
  );
  if (!last || last.quiet_until === null || last.window_ms === null) return undefined;
  return { quietUntil: last.quiet_until, windowMs: last.window_ms };
}

function cut({ failure, ...facts }: NoticeFacts, whole: boolean): NoticeFacts {
  if (failure === undefined) return facts;
  const { hook, message, stack } = failure;
  return {
    ...facts,
    failure: {
      hook,
      message: message.slice(0, whole ? MESSAGE_LENGTH : SHORT_LENGTH),
      stack: whole ? (stack?.slice(0, STACK_LENGTH) ?? null) : null,
    },
  };
}
