import type { LogEnd, Report } from '../../../ground/protocol/exchange.ts';
import type { FailureReason } from '../../../ground/protocol/task-state.ts';
import type { EndedLog, EndedRow } from '../../store/verbs/borrowed.ts';
import type { Named } from './files.ts';

/** How a borrowed task ended here, in the words in which a worker tells it. */
export function toReport(row: EndedRow, logs: readonly EndedLog[], secret: string): Report {
  const { task, attempt } = row;
  const end = outcomeOf(row);
  if (end.outcome === 'released') return { task, attempt, secret, ...end };
  return {
    task,
    attempt,
    secret,
    ...end,
    ...(row.exit_code === null ? {} : { exitCode: row.exit_code }),
    ...(row.signal === null ? {} : { signal: row.signal }),
    ...(row.started_at === null ? {} : { startedAt: new Date(row.started_at).toISOString() }),
    ...(row.wall_seconds === null ? {} : { wallSeconds: row.wall_seconds }),
    ...(row.cpu_seconds === null ? {} : { cpuSeconds: row.cpu_seconds }),
    ...(row.peak_memory === null ? {} : { peakMemory: Number(row.peak_memory) }),
    ...(row.outputs === null ? {} : { outputs: JSON.parse(row.outputs) }),
    ...(row.result === null ? {} : { result: JSON.parse(row.result) }),
    ...logOf('stdout', row, logs),
    ...logOf('stderr', row, logs),
  };
}

function outcomeOf(row: EndedRow): Pick<Report, 'outcome' | 'reason' | 'message'> {
  const message = row.message === null ? {} : { message: row.message };
  if (row.state === 'succeeded') return { outcome: 'succeeded', ...message };
  // Nobody here began with it, or somebody here ended it: elsewhere it may go on.
  if (row.state === 'cancelled') return { outcome: 'released' };
  if (row.reason === 'worker-lost') return { outcome: 'lost', ...message };
  if (row.reason === 'worker-ended') return { outcome: 'ended', ...message };
  return { outcome: 'failed', reason: (row.reason ?? 'exit-code') as FailureReason, ...message };
}

function logOf(
  stream: 'stdout' | 'stderr',
  row: EndedRow,
  logs: readonly EndedLog[],
): { [K in typeof stream]?: LogEnd } {
  const log = logs.find(
    (one) => one.submission_id === row.submission_id && one.idx === row.idx && one.stream === stream && one.size > 0,
  );
  if (!log) return {};
  const { size, data, digest } = log;
  return {
    [stream]: { size: Number(size), ...(data === null ? {} : { data }), ...(digest === null ? {} : { digest }) },
  };
}

/** The files that a report names. */
export function filesOf({ outputs = [], stdout, stderr }: Report): Named[] {
  const logs = [stdout?.digest, stderr?.digest].filter((digest) => digest !== undefined);
  return [...outputs, ...logs.map((digest) => ({ digest, kind: 'file' as const }))];
}

/** What cannot be brought home is not told of. A task without its files did not succeed. */
export function withoutFiles(report: Report, why: string): Report {
  const { outputs: _outputs, stdout, stderr, ...rest } = report;
  const message = `its files could not be brought home: ${why}`;
  return {
    ...rest,
    ...(rest.outcome === 'succeeded'
      ? { outcome: 'failed' as const, reason: 'output-failed' as const, message }
      : { message: rest.message === undefined ? message : `${rest.message}; ${message}` }),
    ...(stdout?.digest === undefined && stdout ? { stdout } : {}),
    ...(stderr?.digest === undefined && stderr ? { stderr } : {}),
  };
}
