import type { Log } from '../../ground/base/log.ts';
import { formatSize } from '../../ground/base/size.ts';
import { type DiskRoom, diskRoom } from './storage-full.ts';

/**
 * Remembers that a disk was full: nothing more is claimed until it has more room than before what failed.
 *
 *   room ──filled──▶ full ──more room than then, or 10 minutes──▶ room
 */
export interface DiskWatch {
  readonly isFull: boolean;
  /** Something failed because the disk was full, with so much room when it began. */
  filled(before: DiskRoom, message: string): void;
  /** Told when it is full no more. */
  onRoom(listener: () => void): void;
  close(): void;
}

export interface DiskWatchOptions {
  readonly log: Log;
  /** How often to look. 3 s. */
  readonly lookMs?: number;
  /** After so long it is worth another try, whatever is seen. 10 min. */
  readonly anywayMs?: number;
}

/** What counts as more: logs come and go. */
const MORE_BYTES = 1024 * 1024;
/** So few may have been what was missing. */
const FEW_FILES = 1000;

export function createDiskWatch(options: DiskWatchOptions): DiskWatch {
  const { log, lookMs = 3000, anywayMs = 600_000 } = options;
  let before: DiskRoom | undefined;
  let since = 0;
  let timer: NodeJS.Timeout | undefined;
  let roomGrew = (): void => {};

  const look = async (): Promise<void> => {
    if (!before) return;
    const now = await diskRoom(before.path).catch(() => undefined);
    if (!before) return;
    const more = now !== undefined && hasMore(now, before);
    if (!more && performance.now() - since < anywayMs) return;
    const facts = { path: before.path, freeBytes: now?.freeBytes };
    if (more) log.info(facts, `the disk has room again (${formatSize(now.freeBytes)} free): claiming tasks`);
    else log.info(facts, 'the disk was full for long: another try');
    before = undefined;
    clearInterval(timer);
    roomGrew();
  };

  return {
    get isFull() {
      return before !== undefined;
    },
    filled: (room, message) => {
      if (before) return;
      before = room;
      since = performance.now();
      log.error(
        { path: room.path, freeBytes: room.freeBytes },
        `${message}; claiming nothing until there is more room`,
      );
      timer = setInterval(() => void look(), lookMs);
      timer.unref();
    },
    onRoom: (listener) => {
      roomGrew = listener;
    },
    close: () => {
      before = undefined;
      clearInterval(timer);
    },
  };
}

function hasMore(now: DiskRoom, before: DiskRoom): boolean {
  const files = before.freeFiles < FEW_FILES && now.freeFiles > before.freeFiles;
  return files || now.freeBytes > before.freeBytes + MORE_BYTES;
}
