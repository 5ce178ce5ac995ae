/** The life of a job in words, as a line of what was, what is and what will be. */
import type { JobState } from '../../../ground/protocol/job-state.ts';

export const STATE_WORDS = {
  INCOMING: 'waiting',
  PREPROCESSING: 'preparing',
  RUNNING: 'running',
  POSTPROCESSING: 'evaluating',
  FINALIZING: 'finishing',
  COMPLETED: 'complete',
  ARCHIVED: 'archived',
  EXPIRED: 'expired',
  FAILED: 'failed',
  CANCELLED: 'cancelled',
} as const satisfies Record<JobState, string>;

/** In the order of a life. */
export const STATES = Object.keys(STATE_WORDS) as JobState[];

export const TONES = {
  INCOMING: 'calm',
  PREPROCESSING: 'busy',
  RUNNING: 'busy',
  POSTPROCESSING: 'busy',
  FINALIZING: 'busy',
  COMPLETED: 'good',
  ARCHIVED: 'calm',
  EXPIRED: 'calm',
  FAILED: 'bad',
  CANCELLED: 'calm',
} as const satisfies Record<JobState, 'calm' | 'busy' | 'good' | 'bad'>;

export interface LifeStep {
  readonly word: string;
  readonly when: 'was' | 'is' | 'will be';
}

const USUAL: readonly JobState[] = [
  'INCOMING',
  'PREPROCESSING',
  'RUNNING',
  'POSTPROCESSING',
  'FINALIZING',
  'COMPLETED',
];
const AFTERWARDS: readonly JobState[] = ['ARCHIVED', 'EXPIRED'];

/** A job that failed or was cancelled left the line somewhere: of what was, only the beginning is known. */
export function lifeOf(state: JobState, isStarted: boolean): LifeStep[] {
  if (state === 'FAILED' || state === 'CANCELLED') {
    const before = isStarted ? ['waiting', 'started'] : ['waiting'];
    return [...before.map((word): LifeStep => ({ word, when: 'was' })), { word: STATE_WORDS[state], when: 'is' }];
  }
  const line = AFTERWARDS.includes(state) ? [...USUAL, ...AFTERWARDS.slice(0, AFTERWARDS.indexOf(state) + 1)] : USUAL;
  const at = line.indexOf(state);
  return line.map((step, index) => ({
    word: STATE_WORDS[step],
    when: index < at ? 'was' : index === at ? 'is' : 'will be',
  }));
}

/** It can still be stopped. */
export function isUnderWay(state: JobState): boolean {
  return !['COMPLETED', 'ARCHIVED', 'EXPIRED', 'FAILED', 'CANCELLED'].includes(state);
}
