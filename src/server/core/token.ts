import { plainNumber } from '../../ground/base/exact-json.ts';
import type { Reason, RowState } from './task.ts';

/**
 * A token: a task as PiCaS clients see and change it, a JSON document whose fields `lock` and `done` say its state.
 * This is where one face's words become the other's; what may follow what, `judge-token` says.
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
export function looseNumber(value: unknown): number {
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

export function withoutClaim(fields: Fields): Fields {
  const rest: Record<string, unknown> = { ...fields, hostname: '' };
  for (const name of JOB_IDS) delete rest[name];
  return rest;
}

/** Never 0, which would say that it is free. */
function seconds(at: number | null): number {
  return Math.max(1, Math.floor((at ?? 0) / 1000));
}
