import { formatTaskId } from '../../ground/base/task-id.ts';
import { shownState } from '../core/submission.ts';
import type { SubmissionRow } from '../store/verbs/read-submissions.ts';
import type { AttemptRow, ResultRow, TaskDetailRow, TaskListRow } from '../store/verbs/read-tasks.ts';
import type { WorkerListRow } from '../store/verbs/workers.ts';

export type { SubmissionRow } from '../store/verbs/read-submissions.ts';

/** Rows as people see them: times in RFC 3339 (UTC), states behind a gate as they count. */
export function viewOfSubmission(row: SubmissionRow) {
  const { waiting, queued, running } = row.counts;
  return {
    id: row.id,
    project: row.project,
    name: row.name,
    owner: row.owner,
    tasks: row.tasks,
    reused: row.reused,
    counts: row.counts,
    finished: row.gate !== 'loading' && waiting + queued + running === 0,
    priority: row.priority,
    after: row.after.map((on) => (on.idx === null ? String(on.submission) : formatTaskId(on.submission, on.idx))),
    submittedAt: time(row.created_at),
    notBefore: timeOrNull(row.not_before),
  };
}

export function viewOfTask(row: TaskListRow) {
  return {
    id: formatTaskId(row.submission_id, row.idx),
    submission: row.submission_id,
    index: row.idx,
    project: row.project,
    name: row.name,
    state: shownState(row.state, row.gate),
    attempt: row.attempt,
    exitCode: row.exit_code,
    reason: row.state === 'failed' ? row.reason : null,
    submittedAt: time(row.created_at),
    startedAt: timeOrNull(row.started_at),
    finishedAt: timeOrNull(row.finished_at),
    worker: workerOf(row),
    progress: row.progress === null ? null : JSON.parse(row.progress),
  };
}

export function viewOfDetail(row: TaskDetailRow) {
  const last = row.attempts.at(-1);
  const accepted =
    row.attempts.findLast((attempt) => attempt.outcome === 'succeeded') ??
    row.attempts.findLast((attempt) => attempt.outputs !== null);
  return {
    ...viewOfTask(row),
    owner: row.owner,
    priority: row.priority,
    spec: JSON.parse(row.spec),
    payload: row.payload === null ? null : JSON.parse(row.payload),
    message: last?.attempt === row.attempt ? last.message : null,
    signal: last?.attempt === row.attempt ? last.signal : null,
    failures: row.failures,
    losses: row.losses,
    plannedEnds: row.planned_ends,
    notBefore: timeOrNull(row.not_before),
    outputs: outputsOf(accepted?.outputs),
    attempts: [...row.attempts, ...(row.state === 'running' ? [runningAttempt(row)] : [])].map(viewOfAttempt),
    reusedFrom: row.reused_from,
    checkpoints: row.checkpoints.map((checkpoint) => {
      const files = JSON.parse(checkpoint.files) as { name: string; size: number }[];
      return {
        attempt: checkpoint.attempt,
        number: checkpoint.number,
        at: time(checkpoint.created_at),
        files: files.map((file) => file.name),
        bytes: files.reduce((sum, file) => sum + file.size, 0),
        suspect: checkpoint.suspect === 1,
      };
    }),
    late: row.late.map((late) => {
      const report = JSON.parse(late.report);
      return {
        attempt: late.attempt,
        receivedAt: time(late.received_at),
        refusal: late.refusal,
        outcome: report.outcome,
        exitCode: report.exitCode,
      };
    }),
  };
}

function runningAttempt(row: TaskDetailRow): AttemptRow {
  const unknown = {
    ended_at: null,
    exit_code: null,
    signal: null,
    reason: null,
    message: null,
    wall_seconds: null,
    cpu_seconds: null,
  };
  const { attempt, worker_number, worker_peer, host, started_at } = row;
  return {
    ...unknown,
    attempt,
    outcome: 'running',
    worker_number,
    worker_peer,
    host,
    started_at,
    peak_memory: null,
    outputs: null,
    result: null,
  };
}

/** A neighbour is none of the workers that one can look at here: `@name`. */
export function workerOf(row: Pick<TaskListRow, 'worker_number' | 'worker_peer' | 'host'>): string | null {
  if (row.worker_peer !== null) return row.host;
  return row.worker_number === null ? null : `w${row.worker_number}`;
}

function viewOfAttempt(row: AttemptRow) {
  return {
    attempt: row.attempt,
    outcome: row.outcome,
    worker: workerOf(row),
    host: row.host,
    startedAt: timeOrNull(row.started_at),
    endedAt: timeOrNull(row.ended_at),
    exitCode: row.exit_code,
    signal: row.signal,
    reason: row.reason,
    message: row.message,
    wallSeconds: row.wall_seconds,
    cpuSeconds: row.cpu_seconds,
    peakMemory: row.peak_memory,
    outputs: outputsOf(row.outputs),
  };
}

export function viewOfResult(row: ResultRow) {
  return {
    id: formatTaskId(row.submission_id, row.idx),
    index: row.idx,
    state: shownState(row.state, row.gate),
    attempt: row.attempt ?? 0,
    outputs: outputsOf(row.outputs),
  };
}

function outputsOf(text: string | null | undefined) {
  return text ? JSON.parse(text) : [];
}

export function viewOfWorker(row: WorkerListRow) {
  const state = row.state === 'alive' && row.instruction !== 'work' ? ('draining' as const) : row.state;
  return {
    id: `w${row.number}`,
    name: row.name,
    host: row.host,
    pid: row.pid,
    zone: row.zone,
    version: row.version,
    state,
    total: JSON.parse(row.total),
    labels: JSON.parse(row.labels),
    running: row.running,
    registeredAt: time(row.registered_at),
    lastSeenAt: time(row.seen_at),
    leaseUntil: time(row.lease_until),
    endsAt: timeOrNull(row.ends_at),
  };
}

export function time(ms: number): string {
  return new Date(ms).toISOString();
}

export function timeOrNull(ms: number | null): string | null {
  return ms === null ? null : time(ms);
}
