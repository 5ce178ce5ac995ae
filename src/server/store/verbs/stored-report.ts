import type { ReportOutcome } from '../../core/task.ts';
import type { TaskRow } from '../task-rows.ts';

/** A report as it is stored; texts are JSON. */
export interface StoredReport {
  readonly submission: number;
  readonly idx: number;
  readonly attempt: number;
  /** SHA-256 of the secret that came with it. */
  readonly secretHash: string;
  readonly outcome: ReportOutcome;
  readonly reason: NonNullable<TaskRow['reason']> | null;
  readonly message: string | null;
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly startedAt: number | null;
  readonly wallSeconds: number | null;
  readonly cpuSeconds: number | null;
  readonly peakMemory: number | null;
  readonly outputs: string | null;
  readonly result: string | null;
  readonly logs: readonly StoredLog[];
  /** Of outputs and logs. */
  readonly digests: readonly string[];
  /** JSON: where it was, if it lived at a site. */
  readonly site?: string | null;
  /** The checkpoint that the attempt began from. */
  readonly checkpoint: { readonly attempt: number; readonly number: number } | null;
}

export interface StoredLog {
  readonly stream: 'stdout' | 'stderr';
  readonly size: number;
  readonly data: string | null;
  readonly digest: string | null;
}
