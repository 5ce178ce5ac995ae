import type { DocumentRow } from '../store/document-rows.ts';
import type { ChangePosition } from '../store/verbs/document-changes.ts';
import type { Parts } from './parts.ts';

export interface Change {
  readonly row: DocumentRow;
  /** Where to go on after it. */
  readonly position: string;
  /** False: a transaction that is under way may still add something before it, so that it comes once more. */
  readonly settled: boolean;
}

export interface ChangesPage {
  readonly changes: readonly Change[];
  readonly position: string;
  readonly more: boolean;
  /** Numbers of changes: how far this page comes, and how far they went when it was read. */
  readonly at: number;
  readonly newest: number;
}

/**
 * Reads the changes of a project's documents in pages, from a position on ('' is the beginning): everything that was
 * committed before the call. In PostgreSQL numbers of changes become visible in the order of commits: the last page
 * ends where no transaction can add anything any more, and what is above comes again with the next reading.
 */
export function createChanges(parts: Pick<Parts, 'store'>): FollowChanges {
  const seen: { last: number; before: bigint }[] = [];
  let settled = 0;
  const followed = new Set<number>();

  /** Infinity where one writer numbers and commits. */
  const safeNumber = async (): Promise<number> => {
    if (parts.store.dialect !== 'postgres') return Number.POSITIVE_INFINITY;
    const horizon = await parts.store.changeHorizon({ settled });
    if (horizon === null) return settled;
    seen.push({ last: horizon.last, before: BigInt(horizon.before) });
    const oldest = BigInt(horizon.oldest);
    while (seen[0] && seen[0].before <= oldest) settled = Math.max(settled, seen.shift()?.last ?? 0);
    // Fewer steps only keep the place behind for longer.
    if (seen.length > MOST_SEEN) seen.splice(MOST_SEEN / 2, 1);
    return settled;
  };

  const read = async (projectId: number, after: string, limit = 1000): Promise<ChangesPage> => {
    if (!followed.has(projectId)) {
      await parts.store.followChanges({ projectId });
      followed.add(projectId);
    }
    const { position, safe: carried } = parsePosition(after);
    // Never back behind where it began.
    const safe = carried ?? Math.max(await safeNumber(), position.after);
    const page = await parts.store.readChanges({ projectId, position, limit });
    const changes = page.changes.map((row) => ({
      row,
      position: placeOf(position, row, safe),
      settled: row.sequence <= safe,
    }));
    const numbers = { at: page.position.after, newest: page.newest };
    if (page.more) return { changes, position: formatPosition(page.position, safe), more: true, ...numbers };
    const settled = { after: Math.min(page.position.after, safe) };
    return { changes, position: formatPosition(settled, Number.POSITIVE_INFINITY), more: false, ...numbers };
  };

  const newest = async (projectId: number): Promise<string> => {
    const safe = await safeNumber();
    const { sequence } = await parts.store.databaseFacts({ projectId });
    return formatPosition({ after: Math.min(sequence, safe) }, Number.POSITIVE_INFINITY);
  };
  return { read, newest };
}

const MOST_SEEN = 1000;

export interface FollowChanges {
  readonly read: (projectId: number, after: string, limit?: number) => Promise<ChangesPage>;
  /** The place behind everything that was committed before the call, as far as nothing can still come before it. */
  readonly newest: (projectId: number) => Promise<string>;
}

/** Where to go on after a row: never behind what a transaction that is under way may still add. */
function placeOf(begun: ChangePosition, row: DocumentRow, safe: number): string {
  if (!begun.opened || !row.task)
    return formatPosition({ after: Math.min(row.sequence, safe) }, Number.POSITIVE_INFINITY);
  return formatPosition({ ...begun, opened: { ...begun.opened, idx: row.task.idx } }, safe);
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
