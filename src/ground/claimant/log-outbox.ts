import type { LogChunk } from '../protocol/exchange.ts';
import { MAX_BATCH } from '../protocol/limits.ts';
import type { HeldTable } from './held-table.ts';

/** The output of running programs, on its way into exchanges: as it grows while somebody follows, else its end now and then. */
export interface LogOutbox {
  /** Fetches what grew; says whether there is any. */
  collect(): boolean;
  /** What the next exchange carries. */
  take(following: boolean): LogChunk[];
  /** They did not arrive. */
  putBack(chunks: readonly LogChunk[]): void;
}

const HEARTBEAT_TAIL_BYTES = 16 * 1024;
const FOLLOW_BYTES = 64 * 1024;
/** Between two looks at the output of all that nobody follows. */
const TAIL_EVERY_MS = 500;

/** `now`: milliseconds, by a clock that nobody sets. */
export function createLogOutbox(held: HeldTable, maxBytes: number, now: () => number): LogOutbox {
  let collected: LogChunk[] = [];
  let tailDue = 0;
  const fetch = (following: boolean): LogChunk[] => {
    const chunks: LogChunk[] = [];
    let bytes = 0;
    for (const { live, report } of held.values()) {
      if (!live || report || chunks.length >= MAX_BATCH - 2 || bytes > maxBytes) continue;
      const taken = live.takeLogs({ bytes: following ? FOLLOW_BYTES : HEARTBEAT_TAIL_BYTES, tailOnly: !following });
      for (const chunk of taken) bytes += chunk.data.length;
      chunks.push(...taken);
    }
    return chunks;
  };
  return {
    collect: () => {
      if (collected.length === 0) collected = fetch(true);
      return collected.length > 0;
    },
    take: (following) => {
      const chunks = collected;
      collected = [];
      if (chunks.length > 0) return chunks;
      if (!following && now() < tailDue) return [];
      tailDue = now() + TAIL_EVERY_MS;
      return fetch(following);
    },
    putBack: (chunks) => {
      for (const chunk of chunks) held.find(chunk)?.live?.returnLogs(chunk);
    },
  };
}
