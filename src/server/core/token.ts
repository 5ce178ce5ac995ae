import { plainNumber } from '../../ground/base/exact-json.ts';
import type { Reason, RowState } from './task.ts';

/**
 * A token: a task as PiCaS clients see and change it, a JSON document whose fields `lock` and `done` say its state.
 * This is where one face's words become the other's; what may follow what is judged here too.
 */
export type Fields = Readonly<Record<string, unknown>>;

export type TokenState = 'todo' | 'locked' | 'done' | 'error' | 'none';

export function isToken(fields: Fields): boolean {
  return (
    Object.hasOwn(fields, 'lock') && Object.hasOwn(fields, 'done') && fields.type !== 'job' && fields.type !== 'log'
  );
}

/** The state that PiCaS' views give a document: loosely compared, as their JavaScript does. */
export function tokenState(fields: Fields): TokenState {
  const lock = looseNumber(fields.lock);
  const done = looseNumber(fields.done);
  if (lock === 0 && done === 0) return 'todo';
  if (lock > 0 && done === 0) return 'locked';
  if (lock > 0 && done > 0) return exitCodeOf(fields) === 0 ? 'done' : 'error';
  return 'none';
}

/** Null: it is no number. */
export function exitCodeOf(fields: Fields): number | null {
  const code = Number.parseInt(String(plainNumber(fields.exit_code)), 10);
  return Number.isNaN(code) ? null : code;
}

export function scrubCountOf(fields: Fields): number {
  const count = looseNumber(fields.scrub_count);
  return Number.isFinite(count) ? count : 0;
}

/** As `==` and `>` of JavaScript see it; NaN compares to nothing. */
function looseNumber(value: unknown): number {
  const plain = plainNumber(value);
  if (typeof plain === 'number') return plain;
  if (typeof plain === 'string' || typeof plain === 'boolean') return Number(plain);
  return Number.NaN;
}

/** What a client writes of itself when it takes a token. */
const JOB_IDS = ['dirac_job_id', 'wms_job_id', 'cream_job_id', 'pbs_job_id', 'slurm_job_id'] as const;
const CLAIM = ['lock', 'hostname', ...JOB_IDS] as const;

/** Who holds a locked token, as far as it tells. */
export function claimOf(fields: Fields): string {
  return JSON.stringify(CLAIM.map((name) => fields[name] ?? null));
}

/** What a task is, as far as its token shows it. Times in milliseconds since 1970. */
export interface TokenTask {
  /** As people see it: `waiting` also for what is queued behind a gate. */
  readonly state: RowState;
  readonly attempt: number;
  readonly claimedAt: number | null;
  readonly finishedAt: number | null;
  readonly exitCode: number | null;
  readonly reason: Reason | null;
  readonly host: string | null;
}

const STATE_OF: Readonly<Record<RowState, TokenState>> = {
  waiting: 'none',
  queued: 'todo',
  running: 'locked',
  succeeded: 'done',
  failed: 'error',
  cancelled: 'error',
};

/** Whether a token's own fields still say what its task is. `attempt` is the one that they were written in. */
export function saysState(fields: Fields, attempt: number, task: TokenTask): boolean {
  const said = tokenState(fields);
  return said === STATE_OF[task.state] && (said !== 'locked' || attempt === task.attempt);
}

/** Seconds, as tokens have them. */
const ERROR_MARK = 99;

/** The fields of a token whose task changed by another face: of a worker, by command, by a lost lease. */
export function withTask(fields: Fields, attempt: number, task: TokenTask): Fields {
  const since = Math.max(0, task.attempt - attempt - (task.state === 'waiting' || task.state === 'queued' ? 0 : 1));
  const base = { ...withoutClaim(fields), scrub_count: scrubCountOf(fields) + since };
  switch (task.state) {
    case 'queued':
      return { ...base, lock: 0, done: 0, exit_code: '' };
    case 'waiting':
      return { ...base, lock: -1, done: -1, exit_code: '' };
    case 'running':
      return { ...base, lock: seconds(task.claimedAt), done: 0, hostname: task.host ?? '', exit_code: '' };
    case 'succeeded':
      return { ...base, ...ended(task), exit_code: 0 };
    case 'failed':
      if (task.exitCode !== null && task.exitCode !== 0) return { ...base, ...ended(task), exit_code: task.exitCode };
      return withError(base, task.reason ?? 'failed', task.finishedAt);
    case 'cancelled':
      return withError(base, 'cancelled', task.finishedAt);
  }
}

function ended(task: TokenTask): Fields {
  return { lock: seconds(task.claimedAt), done: seconds(task.finishedAt), hostname: task.host ?? '' };
}

/** As PiCaS marks what went wrong: 99 in both, and why in a list. */
export function withError(fields: Fields, message: string, at: number | null): Fields {
  const errors = Array.isArray(fields.error) ? fields.error : [];
  const entry = { time: seconds(at), message, exception: '' };
  return { ...fields, lock: ERROR_MARK, done: ERROR_MARK, exit_code: '', error: [...errors, entry] };
}

/** Free for anybody again, counted. */
export function scrubbed(fields: Fields): Fields {
  return { ...withoutClaim(fields), lock: 0, done: 0, scrub_count: scrubCountOf(fields) + 1 };
}

function withoutClaim(fields: Fields): Fields {
  const rest: Record<string, unknown> = { ...fields, hostname: '' };
  for (const name of JOB_IDS) delete rest[name];
  return rest;
}

/** Never 0, which would say that it is free. */
function seconds(at: number | null): number {
  return Math.max(1, Math.floor((at ?? 0) / 1000));
}

/** What a client's new version of a token does to its task. */
export type TokenAct =
  /** Nothing but other fields. */
  | 'edit'
  | 'claim'
  /** A sign of life of the holder. */
  | 'beat'
  | 'end'
  /** The holder, or somebody in its place, gives it back. */
  | 'give-back'
  /** What was over begins anew. */
  | 'reset'
  /** It is in no view from here on. */
  | 'set-aside';

export type TokenVerdict =
  | { readonly ok: true; readonly act: TokenAct }
  | { readonly ok: false; readonly why: 'taken' | 'ended' | 'stale' | 'waiting' };

/** The token as it stands, and what the judge needs of its task. */
export interface StandingToken {
  readonly fields: Fields;
  /** It waits for other tasks or for its time: not for a client to let go. */
  readonly isGated: boolean;
  /** An attempt of it was given up as lost before. */
  readonly wasLost: boolean;
}

/** Judges a new version of a token, written on top of the newest revision. */
export function judgeToken(standing: StandingToken, next: Fields): TokenVerdict {
  const from = tokenState(standing.fields);
  const to = tokenState(next);
  if (standing.isGated) return to === 'none' ? act('edit') : refused('waiting');
  switch (from) {
    case 'todo':
      return act(({ todo: 'edit', locked: 'claim', done: 'end', error: 'end', none: 'set-aside' } as const)[to]);
    case 'locked':
      return judgeLocked(standing, next, to);
    case 'done':
    case 'error':
      return judgeEnded(standing.fields, next, to);
    case 'none':
      return act(({ todo: 'reset', locked: 'claim', done: 'end', error: 'end', none: 'edit' } as const)[to]);
  }
}

/**
 * Who read the token after another client had taken it writes a claim on top of that one: PiCaS looks at nothing but
 * the revision. Another client on the same host in the same second may even write the same text.
 */
function judgeLocked({ fields, wasLost }: StandingToken, next: Fields, to: TokenState): TokenVerdict {
  switch (to) {
    case 'locked':
      if (claimOf(next) !== claimOf(fields) || same(next, fields)) return refused('taken');
      return act('beat');
    case 'done':
    case 'error':
      return act('end');
    case 'todo':
      return wasLost && isLateScrub(fields, next) ? refused('stale') : act('give-back');
    case 'none':
      return act('set-aside');
  }
}

/**
 * A client whose token was given back meanwhile is refused its result, fetches the new revision, and may then save its
 * own old document as scrubbed on top of it, though another one works on it: its count is the one that was raised here.
 */
function isLateScrub(fields: Fields, next: Fields): boolean {
  if (scrubCountOf(next) > scrubCountOf(fields)) return false;
  return !same(without(next), without(fields));
}

function judgeEnded(fields: Fields, next: Fields, to: TokenState): TokenVerdict {
  switch (to) {
    case 'todo':
      return act('reset');
    case 'locked':
      return act('claim');
    case 'none':
      return act('set-aside');
    default: {
      const claimedOnly = claimOf(next) !== claimOf(fields) && looseNumber(next.done) === looseNumber(fields.done);
      if (claimedOnly) return refused('ended');
      return act(tokenState(fields) === to ? 'edit' : 'end');
    }
  }
}

function without(fields: Fields): Fields {
  const { lock: _lock, done: _done, scrub_count: _count, ...rest } = withoutClaim(fields);
  return rest;
}

function same(a: Fields, b: Fields): boolean {
  return canonical(a) === canonical(b);
}

function canonical(fields: Fields): string {
  return JSON.stringify(Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function act(what: TokenAct): TokenVerdict {
  return { ok: true, act: what };
}

function refused(why: 'taken' | 'ended' | 'stale' | 'waiting'): TokenVerdict {
  return { ok: false, why };
}
