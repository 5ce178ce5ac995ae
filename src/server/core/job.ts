/**
 * The life of a job, as long as no service adds hooks to it: its task tells.
 *
 *   INCOMING ──claimed──▶ PREPROCESSING ──submitted──▶ RUNNING ──over──▶ POSTPROCESSING ──fetched──▶ FINALIZING
 *      ▲                        │                         │                    │                        │
 *      └──────── given back ────┴─────────────────────────┴────────────────────┘                        ▼
 *   from anywhere: FAILED, CANCELLED                                          EXPIRED ◀──forgotten── COMPLETED
 */
import type { JobState } from '../../ground/base/job-state.ts';
import type { RowState } from './task.ts';

export type SitePhase = 'login' | 'staging' | 'submitting' | 'pending' | 'running' | 'fetching' | 'merging';

const DURING: Readonly<Record<SitePhase, JobState>> = {
  login: 'PREPROCESSING',
  staging: 'PREPROCESSING',
  submitting: 'PREPROCESSING',
  pending: 'RUNNING',
  running: 'RUNNING',
  fetching: 'POSTPROCESSING',
  merging: 'FINALIZING',
};

const OF_TASK: Readonly<Record<Exclude<RowState, 'running'>, JobState>> = {
  waiting: 'INCOMING',
  queued: 'INCOMING',
  succeeded: 'COMPLETED',
  failed: 'FAILED',
  cancelled: 'CANCELLED',
};

/** The state of a job whose task is in this one; `phase` as the agent told it last. */
export function jobState(task: RowState, phase: SitePhase | undefined): JobState {
  if (task !== 'running') return OF_TASK[task];
  return phase === undefined ? 'PREPROCESSING' : DURING[phase];
}

/** Nothing that comes now changes it. */
export function isJobOver(state: JobState): boolean {
  return ['COMPLETED', 'ARCHIVED', 'EXPIRED', 'FAILED', 'CANCELLED'].includes(state);
}
