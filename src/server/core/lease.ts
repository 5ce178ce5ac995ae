/** Settings of leases, in milliseconds. */
export interface LeaseSettings {
  readonly heartbeatMs: number;
  readonly leaseMs: number;
}

/**
 * By how much the leases that were valid when the last server was alive are extended at a start: the time that no
 * server was there, and one interval in which live workers come back. Zero when a server was alive all the while.
 */
export function outageExtension(lastAlive: number | null, now: number, settings: LeaseSettings): number {
  if (lastAlive === null || now <= lastAlive) return lastAlive === null ? 0 : settings.heartbeatMs;
  return now - lastAlive + settings.heartbeatMs;
}

/** A heartbeat is written at most this often; a lease is never shorter than twice it. */
export function heartbeatDue(lastSeen: number, now: number, settings: LeaseSettings): boolean {
  return now - lastSeen >= settings.heartbeatMs / 2;
}
