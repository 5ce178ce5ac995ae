import { parseDigest } from '../../ground/base/digest.ts';
import { formatTaskId } from '../../ground/base/task-id.ts';
import type { Principal } from '../access/principal.ts';
import { isFinished } from '../core/task.ts';
import type { StoredLogRow } from '../store/verbs/read-tasks.ts';
import type { Parts } from './parts.ts';
import { taskRow } from './queries.ts';
import { logTopic, submissionTopic } from './signals.ts';

export interface LogPiece {
  readonly attempt?: number;
  readonly stream?: 'stdout' | 'stderr';
  readonly offset?: number;
  /** Base64. */
  readonly data?: string;
  readonly skipped?: number;
  readonly end?: { readonly state: string; readonly attempt: number };
}

export interface LogWish {
  readonly attempt: number | undefined;
  readonly streams: readonly string[];
  readonly follow: boolean;
}

const PIECE_BYTES = 64 * 1024;

/**
 * The output of a task, piece by piece; with `follow` until the task has ended, over all its attempts. The last piece is
 * the end. Rejects before the first piece when there is no such task.
 */
export async function readLogs(
  parts: Parts,
  principal: Principal,
  id: string,
  wish: LogWish,
  gone: AbortSignal,
): Promise<AsyncGenerator<LogPiece>> {
  const { submission_id: submission, idx } = await taskRow(parts, principal, id);
  return readPieces(parts, { submission, idx }, wish, gone);
}

async function* readPieces(
  parts: Parts,
  { submission, idx }: { submission: number; idx: number },
  wish: LogWish,
  gone: AbortSignal,
): AsyncGenerator<LogPiece> {
  const task = formatTaskId(submission, idx);
  const ends = AbortSignal.any([gone, parts.closing]);
  let offsets = new Map<string, number>();
  let shown = 0;
  for (;;) {
    if (wish.follow) await askWorker(parts, submission, idx);
    const changed = parts.signals.wait([logTopic(task), submissionTopic(submission)], 1000, ends);
    const found = await parts.store.getLogs({ submission, idx, attempt: wish.attempt ?? null });
    if (!found || ends.aborted) return;
    if (found.attempt !== shown) offsets = new Map();
    shown = found.attempt;
    for (const log of found.logs) if (wish.streams.includes(log.stream)) yield* piecesOf(parts, log, offsets);
    const over =
      !wish.follow || isFinished(found.state) || (wish.attempt !== undefined && wish.attempt < found.attempt);
    if (over) {
      yield { end: { state: found.state, attempt: found.attempt } };
      return;
    }
    await changed;
  }
}

async function askWorker(parts: Parts, submission: number, idx: number): Promise<void> {
  const session = await parts.store.followTask({ submission, idx });
  if (session !== null) parts.signals.session(session);
}

/** What of a log was not shown yet. `offsets` remembers how far each stream is. */
async function* piecesOf(parts: Parts, log: StoredLogRow, offsets: Map<string, number>): AsyncGenerator<LogPiece> {
  const from = offsets.get(log.stream) ?? 0;
  if (log.digest !== null) {
    if (from >= log.size) return;
    const { bytes } = await parts.blobs.get(parseDigest(log.digest), from);
    let offset = from;
    for await (const chunk of bytes as AsyncIterable<Buffer>) {
      yield { attempt: log.attempt, stream: log.stream, offset, data: chunk.toString('base64') };
      offset += chunk.length;
    }
    offsets.set(log.stream, offset);
    return;
  }
  const bytes = Buffer.from(log.data ?? '', 'base64');
  const start = Math.max(from, log.start_offset);
  const fresh = bytes.subarray(start - log.start_offset);
  const skipped = start > from ? { skipped: start - from } : {};
  if (fresh.length === 0) return;
  for (let at = 0; at < fresh.length; at += PIECE_BYTES) {
    yield {
      attempt: log.attempt,
      stream: log.stream,
      offset: start + at,
      data: fresh.subarray(at, at + PIECE_BYTES).toString('base64'),
      ...(at === 0 ? skipped : {}),
    };
  }
  offsets.set(log.stream, start + fresh.length);
}
