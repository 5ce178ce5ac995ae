import { setTimeout as pause } from 'node:timers/promises';
import { createGuard } from './guard.ts';

export interface SlowDownSettings {
  /** So many failures a minute cost nothing. */
  readonly allowed: number;
  /** After that one try is looked at in so many milliseconds. */
  readonly turnMs: number;
  /** So many wait for their turn; those that come then are refused. */
  readonly mostWaiting: number;
}

export interface SlowDown {
  /** Waits for the turn of a key that failed too often; 'full': too many wait for it already. */
  enter(key: string): Promise<'free' | 'waited' | 'full'>;
  failed(key: string): void;
  /** Seconds, 0 while there is no reason to. */
  blockedFor(key: string): number;
}

export function createSlowDown(now: () => number, settings: SlowDownSettings): SlowDown {
  const guard = createGuard(now, settings.allowed);
  const waiting = new Map<string, { last: Promise<void>; count: number }>();
  return {
    failed: (key) => guard.failed(key),
    blockedFor: (key) => guard.blockedFor(key),
    async enter(key) {
      if (guard.blockedFor(key) === 0) return 'free';
      const line = waiting.get(key) ?? { last: Promise.resolve(), count: 0 };
      if (line.count >= settings.mostWaiting) return 'full';
      line.count += 1;
      line.last = line.last.then(() => pause(settings.turnMs));
      waiting.set(key, line);
      try {
        await line.last;
      } finally {
        line.count -= 1;
        if (line.count === 0) waiting.delete(key);
      }
      return 'waited';
    },
  };
}

/** Whoever has an IPv6 address has the 2^64 beside it too. */
export function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!address.includes(':')) return address;
  const [head = '', tail] = address.split('%')[0]?.split('::') ?? [];
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const gap = tail === undefined ? 0 : 8 - left.length - right.length;
  return `${[...left, ...Array.from({ length: Math.max(0, gap) }, () => '0'), ...right].slice(0, 4).join(':')}::/64`;
}
