import type { TaskDetailRow } from '../store/verbs/read-tasks.ts';

/** One reason of `why`: a stable code, a sentence, and the numbers in it. */
export interface Reason {
  readonly code: string;
  readonly text: string;
  readonly numbers: Readonly<Record<string, number>>;
}

/** What went wrong with earlier attempts of it. */
export function lossesOf(row: TaskDetailRow): Reason[] {
  const reasons: Reason[] = [];
  if (row.failures > 0)
    reasons.push({
      code: 'failed-before',
      text: `its program failed before (${row.failures})`,
      numbers: { failures: row.failures },
    });
  if (row.losses > 0)
    reasons.push({
      code: 'worker-lost-before',
      text: `lost workers while it ran: ${row.losses}`,
      numbers: { losses: row.losses },
    });
  return reasons;
}
