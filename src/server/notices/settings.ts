import type { RetrySettings, WindowSettings } from '../core/notice.ts';

/** How notices are delivered. Times in milliseconds. */
export interface NoticeSettings extends WindowSettings, RetrySettings {
  /** A letter that is being delivered belongs to its server for so long: longer than any try takes. */
  readonly leaseMs: number;
  readonly tryMs: number;
  /** What is lost on the way from another server is found so late. */
  readonly lookMs: number;
  /** A host is missed when its lease has been over for so long. */
  readonly silentMs: number;
  /** How often hosts are looked at, and old letters removed. */
  readonly roundMs: number;
  readonly keepMs: number;
  /** A server of this database counts as alive for so long after its last sign. */
  readonly aliveWithinMs: number;
}

export const DEFAULT_NOTICES: NoticeSettings = {
  windowMs: 600_000,
  longestWindowMs: 4 * 3_600_000,
  firstPauseMs: 10_000,
  longestPauseMs: 1_800_000,
  giveUpMs: 5 * 86_400_000,
  leaseMs: 300_000,
  tryMs: 120_000,
  lookMs: 5000,
  silentMs: 180_000,
  roundMs: 30_000,
  keepMs: 30 * 86_400_000,
  aliveWithinMs: 15_000,
};
