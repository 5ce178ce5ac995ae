import { useEffect, useRef, useState } from 'preact/hooks';
import { NoAnswer, Refused } from './api.ts';
import { nextTrySeconds } from './pace.ts';

export interface Live<T> {
  readonly value: T | undefined;
  /** The server's no: looking has ended. */
  readonly refusal: Refused | undefined;
  /** No answer the last time; seconds until the next try. */
  readonly silentFor: number | undefined;
  /** Looks at once. */
  readonly lookNow: () => void;
}

export interface LiveOptions<T> {
  readonly look: (signal: AbortSignal) => Promise<T>;
  /** Seconds until the next look; null ends the looking. */
  readonly pace: (value: T, watchedSeconds: number) => number | null;
  /** Another key, another thing to look at. */
  readonly key: string;
}

/** Looks again and again while the page is seen: at its pace, and through times in which the server is away. */
export function useLive<T>({ look, pace, key }: LiveOptions<T>): Live<T> {
  const [state, setState] = useState<Omit<Live<T>, 'lookNow'>>(NOTHING);
  const wake = useRef<() => void>(() => {});
  const latest = useRef({ look, pace });
  latest.current = { look, pace };
  useEffect(() => {
    const over = new AbortController();
    setState(NOTHING);
    void follow(latest, over.signal, {
      show: setState,
      setWake: (to) => {
        wake.current = to;
      },
    });
    return () => over.abort();
  }, [key]);
  return { ...state, lookNow: () => wake.current() };
}

const NOTHING = { value: undefined, refusal: undefined, silentFor: undefined };

interface Seen<T> {
  show(change: (before: Omit<Live<T>, 'lookNow'>) => Omit<Live<T>, 'lookNow'>): void;
  setWake(wake: () => void): void;
}

async function follow<T>(
  latest: { readonly current: Pick<LiveOptions<T>, 'look' | 'pace'> },
  over: AbortSignal,
  seen: Seen<T>,
): Promise<void> {
  const begin = performance.now();
  let failures = 0;
  let seconds: number | null = 0;
  for (;;) {
    if (seconds === null) await pause(undefined, over, seen.setWake);
    else if (seconds > 0) await pause(seconds, over, seen.setWake);
    if (over.aborted) return;
    try {
      const value = await latest.current.look(over);
      if (over.aborted) return;
      failures = 0;
      seen.show(() => ({ value, refusal: undefined, silentFor: undefined }));
      seconds = latest.current.pace(value, (performance.now() - begin) / 1000);
    } catch (error) {
      if (over.aborted) return;
      if (error instanceof Refused && !isPassing(error)) return seen.show((before) => ({ ...before, refusal: error }));
      if (!(error instanceof Refused || error instanceof NoAnswer)) throw error;
      failures += 1;
      const next =
        error instanceof Refused && error.retryAfterSeconds !== null
          ? error.retryAfterSeconds
          : nextTrySeconds(failures);
      seconds = next;
      seen.show((before) => ({ ...before, silentFor: next }));
    }
  }
}

/** It will be otherwise soon: the server stops or is too busy. */
function isPassing({ status }: Refused): boolean {
  return status >= 500 || status === 429;
}

/** Until so many seconds have passed and the page is seen, or somebody wants to look now. */
function pause(seconds: number | undefined, over: AbortSignal, setWake: (wake: () => void) => void): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let isDue = false;
  const whenSeen = (): void => {
    if (isDue && document.visibilityState === 'visible') resolve();
  };
  const due = (): void => {
    isDue = true;
    whenSeen();
  };
  const timer = seconds === undefined ? undefined : setTimeout(due, seconds * 1000);
  setWake(resolve);
  document.addEventListener('visibilitychange', whenSeen);
  over.addEventListener('abort', () => resolve(), { once: true });
  return promise.finally(() => {
    clearTimeout(timer);
    document.removeEventListener('visibilitychange', whenSeen);
  });
}
