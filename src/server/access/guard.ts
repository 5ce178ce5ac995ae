/**
 * Counts failed logins for each address, and says when there were too many of late. Where they come from more addresses than
 * are remembered, it is forgotten which failed longest ago.
 */
export interface Guard {
  /** Seconds to wait, 0 while there is no reason to. */
  blockedFor(address: string): number;
  failed(address: string): void;
  /** So many of late. */
  failures(address: string): number;
}

const WINDOW_MS = 60_000;
const ALLOWED = 20;
const REMEMBERED = 10_000;

export function createGuard(now: () => number, allowed = ALLOWED): Guard {
  const failures = new Map<string, { since: number; count: number }>();
  const recent = (address: string) => {
    const entry = failures.get(address);
    return entry && now() - entry.since < WINDOW_MS ? entry : undefined;
  };
  return {
    failures: (address) => recent(address)?.count ?? 0,
    blockedFor(address) {
      const entry = recent(address);
      return entry && entry.count >= allowed ? Math.ceil((entry.since + WINDOW_MS - now()) / 1000) : 0;
    },
    failed(address) {
      const entry = recent(address) ?? { since: now(), count: 0 };
      failures.delete(address);
      const [oldest] = failures.keys();
      if (failures.size >= REMEMBERED && oldest !== undefined) failures.delete(oldest);
      failures.set(address, { ...entry, count: entry.count + 1 });
    },
  };
}
