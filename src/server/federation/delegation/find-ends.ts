import type { Parts } from '../../pool/parts.ts';
import type { EndedTasks } from '../../store/verbs/borrowed.ts';
import type { Ended } from './bring-results.ts';
import type { HeldTasks } from './held-tasks.ts';
import type { LocalKey } from './live-task.ts';
import { toReport } from './report.ts';

export interface EndsOptions {
  readonly parts: Parts;
  readonly peerId: () => string;
  readonly held: HeldTasks;
  /** These ended here; their neighbour is to hear of it. */
  readonly onEnds: (ended: readonly Ended[]) => Promise<void>;
  /** All that ended, as it stands in the pool, now and then. */
  readonly onWholeLook: (found: readonly LocalKey[]) => Promise<void>;
  /** A second unless given. */
  readonly wholeLookMs?: number;
}

export interface Ends {
  look(): Promise<void>;
  /** How many ended of late, a second. */
  rate(): number;
}

const WHOLE_LOOK_MS = 1000;
const AT_ONCE = 500;
const RATE_MS = 5000;
/** So many tell the rate before that time is over; a few ends are no rate yet. */
const MANY = 100;
const LEAST_SPAN_MS = 1000;

/**
 * Finds what ended: by the numbers of changes, and now and then by looking at all, because these may come out of order,
 * and a task may end at another server of this database before its place is known here.
 */
export function createEnds({ parts, peerId, held, onEnds, onWholeLook, ...options }: EndsOptions): Ends {
  const wholeLookMs = options.wholeLookMs ?? WHOLE_LOOK_MS;
  const { store } = parts;
  const times: number[] = [];
  let seenUpTo = 0;
  let lastWholeLook = Number.NEGATIVE_INFINITY;

  /** Those that are held here and not told of yet. */
  const report = async ({ ended, logs }: EndedTasks): Promise<void> => {
    const news = ended.flatMap((row) => {
      const task = held.find(row);
      if (!task || task.isReported || held.at({ submission: row.submission_id, idx: row.idx }) !== task) return [];
      task.isReported = true;
      task.cpuMs = 1000 * (row.cpu_seconds ?? row.wall_seconds ?? 0);
      return [{ row, task }];
    });
    try {
      await onEnds(
        news.map(({ row, task }) => ({ project: row.project, report: toReport(row, logs, task.claim.secret) })),
      );
    } catch (error) {
      // Found again by the next look at all; who was told already is told twice, which changes nothing.
      for (const { task } of news) task.isReported = false;
      throw error;
    }
    times.push(...news.map(() => performance.now()));
  };
  const lookAtAll = async (): Promise<void> => {
    const { ended: found, upTo } = await store.endedBorrowed({ peerId: peerId() });
    seenUpTo = upTo;
    const news = found.filter((key) => held.at(key)?.isReported === false);
    for (let at = 0; at < news.length; at += AT_ONCE)
      await report(await store.readEnded({ keys: news.slice(at, at + AT_ONCE) }));
    await onWholeLook(found);
  };
  const lookAtNew = async (): Promise<void> => {
    for (let isMore = true; isMore; ) {
      const found = await store.endedSince({ peerId: peerId(), after: seenUpTo, most: AT_ONCE });
      seenUpTo = found.upTo;
      await report(found);
      isMore = found.ended.length === AT_ONCE;
    }
  };

  return {
    async look() {
      const isWhole = performance.now() - lastWholeLook > wholeLookMs;
      if (isWhole) lastWholeLook = performance.now();
      if (isWhole) await lookAtAll();
      else if (held.live.size > 0) await lookAtNew();
    },
    rate() {
      const now = performance.now();
      const old = times.findIndex((time) => time >= now - RATE_MS);
      times.splice(0, old < 0 ? times.length : old);
      const spanMs = times.length < MANY ? RATE_MS : Math.max(LEAST_SPAN_MS, now - (times[0] ?? now));
      return (1000 * times.length) / spanMs;
    },
  };
}
