import Type from 'typebox';
import { Count, closed } from './schema.ts';

export const TASK_STATES = ['waiting', 'queued', 'running', 'succeeded', 'failed', 'cancelled'] as const;
export type TaskStatus = (typeof TASK_STATES)[number];
export const TaskStatus = Type.Unsafe<TaskStatus>(Type.Union(TASK_STATES.map((state) => Type.Literal(state))));

/** Why a task failed. A new reason does not compile until everything that decides about it has. */
export const FAILURE_REASONS = [
  'exit-code',
  'signal',
  'time-limit',
  'memory-limit',
  'missing-output',
  'output-failed',
  'input-failed',
  'command-not-found',
  'command-not-executable',
  'start-failed',
  'worker-lost',
  'worker-ended',
  'dependency-failed',
] as const;
export type FailureReason = (typeof FAILURE_REASONS)[number];
export const FailureReason = Type.Unsafe<FailureReason>(
  Type.Union(FAILURE_REASONS.map((reason) => Type.Literal(reason))),
);

export const StateCounts = closed({
  waiting: Count,
  queued: Count,
  running: Count,
  succeeded: Count,
  failed: Count,
  cancelled: Count,
});
export type StateCounts = Record<TaskStatus, number>;
