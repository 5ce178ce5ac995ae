import type { WorkerFacts } from '../core/shape.ts';
import type { WorkerRow } from '../store/verbs/workers.ts';

/** A worker as matching sees it. What is left of its wall time is as of when it was last heard of. */
export function workerFacts(row: WorkerRow): WorkerFacts {
  return {
    kinds: JSON.parse(row.kinds),
    total: JSON.parse(row.total),
    labels: JSON.parse(row.labels),
    remainingSeconds: row.ends_at === null ? null : (row.ends_at - row.seen_at) / 1000,
  };
}
