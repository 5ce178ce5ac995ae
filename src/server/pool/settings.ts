import { DEFAULT_HALF_LIFE_MS } from '../core/fair-share.ts';

/** What a group may set. Times in milliseconds. */
export interface PoolSettings {
  readonly heartbeatMs: number;
  readonly leaseMs: number;
  /** A wide task that waits so long gets a worker to itself. */
  readonly reserveAfterMs: number;
  /** A submission that is not completed for so long is removed. */
  readonly abandonedAfterMs: number;
  /** Files that nothing refers to stay for so long. */
  readonly blobGraceMs: number;
  /** A server of this database counts as alive for so long after its last sign. */
  readonly serverAliveMs: number;
  /** So long a client of the CouchDB face may hold a token in silence, unless its project says otherwise. */
  readonly maxLockMs: number;
  /** So often a token is given back after silence. */
  readonly maxScrubs: number;
  /** What people did is kept in the audit log for so long. */
  readonly auditKeptMs: number;
  /** What users have used counts half after so long. */
  readonly halfLifeMs: number;
  /** Mails go out; otherwise they are kept. */
  readonly hasSmtp: boolean;
}

export const DEFAULT_SETTINGS: PoolSettings = {
  heartbeatMs: 30_000,
  leaseMs: 60_000,
  reserveAfterMs: 300_000,
  abandonedAfterMs: 3_600_000,
  blobGraceMs: 86_400_000,
  serverAliveMs: 15_000,
  // Five days: the longest wall time of many a cluster.
  maxLockMs: 432_000_000,
  maxScrubs: 3,
  auditKeptMs: 365 * 86_400_000,
  halfLifeMs: DEFAULT_HALF_LIFE_MS,
  hasSmtp: false,
};
