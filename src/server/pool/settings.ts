/** What a group may set. Times in milliseconds. */
export interface PoolSettings {
  readonly heartbeatMs: number;
  readonly leaseMs: number;
  /** A wide task that waits so long gets a worker to itself. */
  readonly reserveAfterMs: number;
  /** A submission that is not completed for so long is removed. */
  readonly abandonedAfterMs: number;
}

export const DEFAULT_SETTINGS: PoolSettings = {
  heartbeatMs: 30_000,
  leaseMs: 60_000,
  reserveAfterMs: 300_000,
  abandonedAfterMs: 3_600_000,
};
