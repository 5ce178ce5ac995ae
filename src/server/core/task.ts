/**
 * The life of a task, and the only judge of it (but for the claim, which is chosen and taken in one statement).
 *
 *                          ┌────────── retry (by command) ───────────┐
 *   waiting ──due──▶ queued ──claim──▶ running ──report──▶ succeeded │
 *      ▲               ▲ ▲               │ │ └───report──▶ failed ───┤
 *      └── back-off ───┼─┼── report ─────┘ │                 ▲       │
 *                      │ └── rescue ───────┘  (limit) ───────┘       │
 *                      └── re-attach: the same attempt comes back    │
 *   any unfinished ──cancel──▶ cancelled ────────────────────────────┘
 *
 * The attempt number is the fence, and it moves at the next claim: until then the last attempt may report, also when
 * its lease ran out meanwhile.
 */

export type RowState = 'waiting' | 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled';

/** `open`: may still report. `reported`: has. `closed`: was cancelled; what it says no longer counts. */
export type AttemptState = 'open' | 'reported' | 'closed';

export type Reason =
  | 'exit-code'
  | 'signal'
  | 'time-limit'
  | 'memory-limit'
  | 'missing-output'
  | 'output-failed'
  | 'input-failed'
  | 'command-not-found'
  | 'command-not-executable'
  | 'start-failed'
  | 'worker-lost'
  | 'worker-ended'
  | 'dependency-failed';

/** The facts that decide what may happen to a task next. */
export interface TaskFacts {
  readonly state: RowState;
  readonly attempt: number;
  readonly attemptState: AttemptState;
  readonly failures: number;
  readonly losses: number;
  readonly plannedEnds: number;
}

/** How often what may happen before the task fails; see `RetryPolicy` of the protocol. Waits in milliseconds. */
export interface Limits {
  readonly retries: number;
  readonly backoffMs: number;
  readonly lost: number;
  readonly ended: number;
}

export type ReportOutcome = 'succeeded' | 'failed' | 'released' | 'ended' | 'lost';

export interface ReportFacts {
  readonly attempt: number;
  readonly outcome: ReportOutcome;
  readonly reason?: Reason | undefined;
}

export type NextState =
  | { readonly state: 'queued' }
  | { readonly state: 'waiting'; readonly notBefore: number }
  | { readonly state: 'succeeded' }
  | { readonly state: 'failed'; readonly reason: Reason }
  | { readonly state: 'cancelled' };

export interface Counters {
  readonly failures: number;
  readonly losses: number;
  readonly plannedEnds: number;
}

export type Refusal = 'stale-attempt' | 'already-finished' | 'unknown-task';

export type Verdict =
  | { readonly ok: true; readonly repeated: true }
  | { readonly ok: true; readonly repeated: false; readonly next: NextState; readonly counters: Counters }
  | { readonly ok: false; readonly refusal: Refusal };

const LONGEST_BACKOFF_MS = 3_600_000;

/** Judges the report of an attempt whose secret was right. `now` in milliseconds. */
export function judgeReport(task: TaskFacts, report: ReportFacts, limits: Limits, now: number): Verdict {
  if (report.attempt > task.attempt) return { ok: false, refusal: 'unknown-task' };
  if (report.attempt < task.attempt) return { ok: false, refusal: 'stale-attempt' };
  if (task.attemptState === 'reported') return { ok: true, repeated: true };
  if (isFinished(task.state)) return { ok: false, refusal: 'already-finished' };
  if (task.attemptState === 'closed') return { ok: false, refusal: 'stale-attempt' };
  return { ok: true, repeated: false, ...afterReport(task, report, limits, now) };
}

function afterReport(
  task: TaskFacts,
  report: ReportFacts,
  limits: Limits,
  now: number,
): { next: NextState; counters: Counters } {
  const counters = uncharged(task);
  switch (report.outcome) {
    case 'succeeded':
      return { next: { state: 'succeeded' }, counters };
    case 'released':
      return { next: { state: 'queued' }, counters };
    case 'ended': {
      const plannedEnds = counters.plannedEnds + 1;
      const next: NextState =
        plannedEnds >= limits.ended ? { state: 'failed', reason: 'worker-ended' } : { state: 'queued' };
      return { next, counters: { ...counters, plannedEnds } };
    }
    case 'lost': {
      const losses = counters.losses + 1;
      const next: NextState = losses >= limits.lost ? { state: 'failed', reason: 'worker-lost' } : { state: 'queued' };
      return { next, counters: { ...counters, losses } };
    }
    case 'failed': {
      const failures = counters.failures + 1;
      const next = afterFailure(failures, report.reason ?? 'exit-code', limits, now);
      return { next, counters: { ...counters, failures } };
    }
  }
}

/** An attempt that was given up for lost and reports after all was not lost. */
function uncharged(task: TaskFacts): Counters {
  const losses = task.state === 'running' ? task.losses : Math.max(0, task.losses - 1);
  return { failures: task.failures, losses, plannedEnds: task.plannedEnds };
}

function afterFailure(failures: number, reason: Reason, limits: Limits, now: number): NextState {
  if (failures > limits.retries) return { state: 'failed', reason };
  const wait = Math.min(LONGEST_BACKOFF_MS, limits.backoffMs * 2 ** (failures - 1));
  return wait === 0 ? { state: 'queued' } : { state: 'waiting', notBefore: now + wait };
}

/** The worker of a running task is lost: charged, and queued again unless it lost too many. The attempt may still report. */
export function judgeLoss(task: TaskFacts, limits: Limits): { next: NextState; counters: Counters } {
  const losses = task.losses + 1;
  const next: NextState = losses >= limits.lost ? { state: 'failed', reason: 'worker-lost' } : { state: 'queued' };
  return { next, counters: { failures: task.failures, losses, plannedEnds: task.plannedEnds } };
}

/** A worker that was given up for lost still runs the attempt: it goes on as if nothing had been, unless it was claimed again. */
export function mayReattach(task: TaskFacts, attempt: number): boolean {
  return task.state === 'queued' && task.attempt === attempt && task.attemptState === 'open';
}

/** By command, with all counters forgotten. */
export function mayRetry(state: RowState): boolean {
  return state === 'failed' || state === 'cancelled';
}

export function isFinished(state: RowState): boolean {
  return state === 'succeeded' || state === 'failed' || state === 'cancelled';
}
