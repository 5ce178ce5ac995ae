/** Counts failed logins for each address, and says when there were too many of late. */
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
      if (failures.size >= REMEMBERED) failures.clear();
      failures.set(address, { ...entry, count: entry.count + 1 });
    },
  };
}
