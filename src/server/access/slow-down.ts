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
  /**
   * Waits for the turn of a key that failed too often; 'full': too many wait for it already. A try that was let in counts
   * as a failure until it is given back, or many at once would all be looked at before the first of them has failed.
   */
  enter(key: string): Promise<'free' | 'waited' | 'full'>;
  /** The try is over. */
  giveBack(key: string): void;
  failed(key: string): void;
  /** Seconds, 0 while there is no reason to. */
  blockedFor(key: string): number;
}

export function createSlowDown(now: () => number, settings: SlowDownSettings): SlowDown {
  const guard = createGuard(now, settings.allowed);
  const waiting = new Map<string, { last: Promise<void>; count: number }>();
  const underWay = new Map<string, number>();
  const count = (key: string, by: number) => {
    const left = (underWay.get(key) ?? 0) + by;
    if (left > 0) underWay.set(key, left);
    else underWay.delete(key);
  };
  const isFree = (key: string) => guard.failures(key) + (underWay.get(key) ?? 0) < settings.allowed;
  return {
    failed: (key) => guard.failed(key),
    blockedFor: (key) => guard.blockedFor(key),
    giveBack: (key) => count(key, -1),
    async enter(key) {
      const answer = isFree(key) ? 'free' : await waitForTurn(waiting, key, settings);
      if (answer !== 'full') count(key, 1);
      return answer;
    },
  };
}

async function waitForTurn(
  waiting: Map<string, { last: Promise<void>; count: number }>,
  key: string,
  { turnMs, mostWaiting }: SlowDownSettings,
): Promise<'waited' | 'full'> {
  const line = waiting.get(key) ?? { last: Promise.resolve(), count: 0 };
  if (line.count >= mostWaiting) return 'full';
  line.count += 1;
  line.last = line.last.then(() => pause(turnMs));
  waiting.set(key, line);
  try {
    await line.last;
  } finally {
    line.count -= 1;
    if (line.count === 0) waiting.delete(key);
  }
  return 'waited';
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
