/** Growing waits between tries, with jitter so that many workers do not come back at the same moment. */
export interface Backoff {
  /** The next wait, in milliseconds. */
  next(): number;
  reset(): void;
}

export function createBackoff(firstMs: number, longestMs: number): Backoff {
  let wait = firstMs;
  return {
    next: () => {
      const now = wait * (0.75 + Math.random() / 2);
      wait = Math.min(wait * 2, longestMs);
      return now;
    },
    reset: () => {
      wait = firstMs;
    },
  };
}
