/**
 * The life of a service's job. A change of state is begun (an intent is committed), the host moves the job's directory,
 * and the change arrives (is confirmed). `step` counts the changes that were begun: with it a repeated message is known.
 *
 *   INCOMING ─▶ PREPROCESSING ─▶ RUNNING ─▶ POSTPROCESSING ─▶ FINALIZING ─▶ COMPLETED ─▶ ARCHIVED ─▶ EXPIRED
 *      ▲              │             ▲              │                            ▲
 *      │              │             └─ rescheduled ┘                            │
 *      │              └──────────────────────── skipped ────────────────────────┘
 *      └── resubmitted ── FAILED (from anywhere), CANCELLED (from before COMPLETED)
 */
import type { JobState } from '../../ground/base/job-state.ts';

/** What somebody else than the host wants to become of a job; `archive` and `expire` come with their time. */
export type Wish = 'cancel' | 'fail' | 'resubmit' | 'delete' | 'archive' | 'expire';

export interface ServiceJob {
  readonly state: JobState;
  /** The state that it is on its way to: its directory may be here or there. */
  readonly intent: JobState | null;
  readonly step: number;
  /** How often RUNNING was begun. */
  readonly run: number;
  readonly wish: Wish | null;
  /** So many jobs that it waits for are not complete. */
  readonly waiting: number;
  /** The hook of a state in which a job rests has been called. */
  readonly settled: boolean;
}

/** What the host says. `step` is the last one that it knows of. */
export type ServiceChange =
  | { readonly kind: 'begin'; readonly step: number; readonly to: JobState }
  | { readonly kind: 'arrive'; readonly step: number }
  /** The hook of a resting state is through. */
  | { readonly kind: 'settle'; readonly step: number }
  /** Facts of a job that stays in its state. */
  | { readonly kind: 'tell'; readonly step: number }
  /** Directory and all are removed. */
  | { readonly kind: 'gone'; readonly step: number };

export type ChangeRefusal = 'stale' | 'illegal';
export type Judged =
  /** `repeated`: it was so already, nothing is to be written. */
  | { readonly ok: true; readonly job: ServiceJob; readonly repeated: boolean }
  | { readonly ok: false; readonly refusal: ChangeRefusal };

const NEXT: Readonly<Record<JobState, readonly JobState[]>> = {
  INCOMING: ['PREPROCESSING', 'FAILED', 'CANCELLED'],
  PREPROCESSING: ['RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED'],
  RUNNING: ['POSTPROCESSING', 'FAILED', 'CANCELLED'],
  POSTPROCESSING: ['FINALIZING', 'RUNNING', 'FAILED', 'CANCELLED'],
  FINALIZING: ['COMPLETED', 'FAILED', 'CANCELLED'],
  COMPLETED: ['ARCHIVED', 'FAILED'],
  ARCHIVED: ['EXPIRED', 'FAILED'],
  EXPIRED: ['FAILED'],
  FAILED: ['INCOMING'],
  CANCELLED: ['INCOMING'],
};

/** In these a job stays until somebody, or the time, wants something else. */
const RESTING: readonly JobState[] = ['COMPLETED', 'ARCHIVED', 'EXPIRED', 'FAILED', 'CANCELLED'];
/** Their hooks are called when the job has come to rest there. */
const WITH_HOOK: readonly JobState[] = ['COMPLETED', 'ARCHIVED', 'EXPIRED'];

export function isLegal(from: JobState, to: JobState): boolean {
  return NEXT[from].includes(to);
}

export function isResting(state: JobState): boolean {
  return RESTING.includes(state);
}

/** Has its host something to do for it? */
export function isActive(job: ServiceJob): boolean {
  if (job.intent !== null || job.wish !== null || !job.settled) return true;
  return job.state === 'INCOMING' ? job.waiting === 0 : !isResting(job.state);
}

export function judgeChange(job: ServiceJob, change: ServiceChange): Judged {
  switch (change.kind) {
    case 'begin':
      return begin(job, change);
    case 'arrive':
      return arrive(job, change.step);
    case 'settle':
      if (job.step !== change.step || job.intent !== null) return refuse('stale');
      return { ok: true, job: { ...job, settled: true }, repeated: false };
    case 'tell':
      return job.step === change.step ? { ok: true, job, repeated: false } : refuse('stale');
    case 'gone':
      if (job.step !== change.step) return refuse('stale');
      return isResting(job.state) ? { ok: true, job, repeated: false } : refuse('illegal');
  }
}

/** A change that cannot be carried out makes way for FAILED or CANCELLED, and for nothing else. */
function begin(job: ServiceJob, { step, to }: { step: number; to: JobState }): Judged {
  if (job.step === step + 1 && job.intent === to) return { ok: true, job, repeated: true };
  if (job.step !== step) return refuse('stale');
  if (job.intent !== null && to !== 'FAILED' && to !== 'CANCELLED') return refuse('illegal');
  // Whatever is under way, that it cannot be carried out is a failure.
  if (!isLegal(job.state, to) && (job.intent === null || to !== 'FAILED')) return refuse('illegal');
  if (job.state === 'INCOMING' && to === 'PREPROCESSING' && job.waiting > 0) return refuse('illegal');
  const run = to === 'RUNNING' ? job.run + 1 : job.run;
  return { ok: true, job: { ...job, intent: to, step: step + 1, run }, repeated: false };
}

function arrive(job: ServiceJob, step: number): Judged {
  if (job.step !== step) return refuse('stale');
  if (job.intent === null) return { ok: true, job, repeated: true };
  const arrived = { ...job, state: job.intent, intent: null, settled: !WITH_HOOK.includes(job.intent) };
  const wish = job.wish !== null && mayWish(arrived, job.wish) && !isFulfilled(arrived.state, job.wish);
  return { ok: true, job: { ...arrived, wish: wish ? job.wish : null }, repeated: false };
}

function isFulfilled(state: JobState, wish: Wish): boolean {
  return FULFILLED[wish] === state;
}

const FULFILLED: Readonly<Record<Wish, JobState | undefined>> = {
  cancel: 'CANCELLED',
  fail: 'FAILED',
  resubmit: 'INCOMING',
  delete: undefined,
  archive: 'ARCHIVED',
  expire: 'EXPIRED',
};

/** Could this become of the job as it is? */
export function mayWish({ state }: ServiceJob, wish: Wish): boolean {
  switch (wish) {
    case 'cancel':
      return !isResting(state);
    case 'fail':
      return state !== 'FAILED' && state !== 'CANCELLED' && state !== 'EXPIRED';
    case 'resubmit':
      return state === 'FAILED' || state === 'CANCELLED';
    case 'delete':
      return isResting(state);
    case 'archive':
      return state === 'COMPLETED';
    case 'expire':
      return state === 'ARCHIVED';
  }
}

/** How long results stay, counted from the job's end, in milliseconds; null is for ever. */
export interface Retention {
  readonly archiveMs: number | null;
  readonly expireMs: number | null;
}

/** When the time of a job in this state is over. */
export function dueAt(state: JobState, endedAt: number | null, { archiveMs, expireMs }: Retention): number | null {
  if (endedAt === null) return null;
  if (state === 'COMPLETED') return archiveMs === null ? null : endedAt + archiveMs;
  if (state === 'ARCHIVED') return expireMs === null ? null : endedAt + expireMs;
  return null;
}

function refuse(refusal: ChangeRefusal): Judged {
  return { ok: false, refusal };
}
