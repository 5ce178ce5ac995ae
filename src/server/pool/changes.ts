import type { DocumentRow } from '../store/document-rows.ts';
import type { ChangePosition } from '../store/verbs/document-changes.ts';
import type { Parts } from './parts.ts';

export interface Change {
  readonly row: DocumentRow;
  /** Where to go on after it. */
  readonly position: string;
}

export interface ChangesPage {
  readonly changes: readonly Change[];
  readonly position: string;
  readonly more: boolean;
}

/**
 * Reads the changes of a project's documents in pages, from a position on ('' is the beginning): everything that was
 * committed before the call. In PostgreSQL numbers of changes become visible in the order of commits: the last page
 * ends where no transaction can add anything any more, and what is above comes again with the next reading.
 */
export function createChanges(parts: Pick<Parts, 'store'>) {
  const seen: { last: number; xmax: bigint }[] = [];
  const followed = new Set<number>();

  /** Infinity where one writer numbers and commits. */
  const safeNumber = async (): Promise<number> => {
    const horizon = await parts.store.changeHorizon();
    if (horizon === null) return Number.POSITIVE_INFINITY;
    const oldest = BigInt(horizon.xmin);
    seen.push({ last: horizon.last, xmax: BigInt(horizon.xmax) });
    while (seen.length > 1 && (seen[1] as { xmax: bigint }).xmax <= oldest) seen.shift();
    const [first] = seen;
    return first && first.xmax <= oldest ? first.last : 0;
  };

  return async (projectId: number, after: string, limit = 1000): Promise<ChangesPage> => {
    if (!followed.has(projectId)) {
      await parts.store.followChanges({ projectId });
      followed.add(projectId);
    }
    const { position, safe: carried } = parsePosition(after);
    // Never back behind where it began.
    const safe = carried ?? Math.max(await safeNumber(), position.after);
    const page = await parts.store.readChanges({ projectId, position, limit });
    const changes = page.changes.map((row) => ({ row, position: placeOf(position, row) }));
    if (page.more) return { changes, position: formatPosition(page.position, safe), more: true };
    const settled = { after: Math.min(page.position.after, safe) };
    return { changes, position: formatPosition(settled, Number.POSITIVE_INFINITY), more: false };
  };
}

export type ReadChanges = ReturnType<typeof createChanges>;

function placeOf(begun: ChangePosition, row: DocumentRow): string {
  if (!begun.opened || !row.task) return formatPosition({ after: row.sequence }, Number.POSITIVE_INFINITY);
  return formatPosition({ ...begun, opened: { ...begun.opened, idx: row.task.idx } }, Number.POSITIVE_INFINITY);
}

/** `after[-submission.index.sequence][~safe]` */
function formatPosition({ after, opened }: ChangePosition, safe: number): string {
  const inside = opened ? `-${opened.submission}.${opened.idx}.${opened.sequence}` : '';
  return `${after}${inside}${Number.isFinite(safe) ? `~${safe}` : ''}`;
}

const POSITION = /^(\d{1,16})(?:-(\d{1,16})\.(-?\d{1,16})\.(\d{1,16}))?(?:~(\d{1,16}))?$/;

/** What is no position is the beginning. */
function parsePosition(text: string): { position: ChangePosition; safe: number | undefined } {
  const found = POSITION.exec(text);
  if (!found) return { position: { after: 0 }, safe: undefined };
  const [, after, submission, idx, sequence, safe] = found;
  const opened = { submission: Number(submission), idx: Number(idx), sequence: Number(sequence) };
  return {
    position: { after: Number(after), ...(submission === undefined ? {} : { opened }) },
    safe: safe === undefined ? undefined : Number(safe),
  };
}

export function isPosition(text: string): boolean {
  return POSITION.test(text);
}
