/** Slurm's words for what becomes of a job (squeue(1), JOB STATE CODES and JOB REASON CODES; 22.05 to 24.11). */
import type { BatchEnding, EndingCause } from '../scheduler.ts';
import { signalName } from '../signals.ts';

export type Phase = 'pending' | 'running' | 'ending' | EndingCause;

const PHASES: Readonly<Record<string, Phase>> = {
  PENDING: 'pending',
  CONFIGURING: 'pending',
  REQUEUED: 'pending',
  REQUEUE_FED: 'pending',
  REQUEUE_HOLD: 'pending',
  RESV_DEL_HOLD: 'pending',
  SPECIAL_EXIT: 'pending',
  RUNNING: 'running',
  RESIZING: 'running',
  SIGNALING: 'running',
  STOPPED: 'running',
  SUSPENDED: 'running',
  COMPLETING: 'ending',
  STAGE_OUT: 'ending',
  COMPLETED: 'completed',
  FAILED: 'failed',
  TIMEOUT: 'time-limit',
  DEADLINE: 'time-limit',
  OUT_OF_MEMORY: 'memory-limit',
  CANCELLED: 'cancelled',
  REVOKED: 'cancelled',
  PREEMPTED: 'preempted',
  NODE_FAIL: 'node-lost',
  BOOT_FAIL: 'start-failed',
  LAUNCH_FAILED: 'start-failed',
};

/** Undefined for a state of a newer Slurm: that proves nothing. sacct says `CANCELLED by 2001`, newer ones `CANCELLED+`. */
export function phaseOf(state: string): Phase | undefined {
  return PHASES[/^[A-Z_]+/.exec(state)?.[0] ?? ''];
}

export function isEnd(phase: Phase): phase is EndingCause {
  return phase !== 'pending' && phase !== 'running' && phase !== 'ending';
}

/** Limits that waiting does not lift, however empty the cluster is. Limits of a group or of jobs in all do pass. */
const HOPELESS = new Set([
  'AccountNotAllowed',
  'BadConstraints',
  'DependencyNeverSatisfied',
  'InvalidAccount',
  'InvalidQOS',
  'JobHeldAdmin',
  'JobHoldMaxRequeue',
  'PartitionConfig',
  'PartitionNodeLimit',
  'PartitionTimeLimit',
  'QOSNotAllowed',
]);

export function isHopeless(reason: string): boolean {
  return HOPELESS.has(reason) || /^(Assoc|QOS|Max)\w*(PerJob|PerNode)(Limit)?$/.test(reason);
}

/** Signal 53 stands for files that could not be opened: the script never ran (22.05.8, output in a missing directory). */
const NOT_LAUNCHED = 53;
const BEFORE_START = new Set(['BadConstraints', 'FAILED_LAUNCH', 'RaisedSignal:53(Real-time_signal_19)']);

/** What the queue or the accounting tells of an end, without what the job's own files may add. */
export function toEnding(cause: EndingCause, code: number, signal: number, words: string): BatchEnding {
  if (cause === 'failed' && (signal === NOT_LAUNCHED || [...BEFORE_START].some((word) => words.includes(word)))) {
    return { cause: 'start-failed', words };
  }
  if (signal > 0) return { cause, signal: signalName(signal), words };
  // A job that was cancelled before it began, or for its limit, has a 0 here that is no exit code.
  return cause === 'completed' || cause === 'failed' || code !== 0
    ? { cause, exitCode: code, words }
    : { cause, words };
}

/**
 * What slurmstepd, nobody else, writes into the job's stderr. Without cgroups Slurm itself says only FAILED,
 * JobLaunchFailure, 0:9 when a job took too much memory.
 */
const OVER_MEMORY = /^slurmstepd[^\n]*(exceeded (job )?memory limit|oom.?kill|out of memory)/im;

export function withStderr(ending: BatchEnding, stderrTail: string): BatchEnding {
  const killed = ending.cause === 'failed' && (ending.signal === 'SIGKILL' || (ending.exitCode ?? 0) !== 0);
  const match = killed ? OVER_MEMORY.exec(stderrTail) : null;
  return match ? { ...ending, cause: 'memory-limit', words: match[0] } : ending;
}
