/** Lets so many act at once, the rest in their order. */
export function createTurns(most: number): <T>(act: () => Promise<T>, signal: AbortSignal) => Promise<T> {
  const queue: (() => void)[] = [];
  let active = 0;
  return async (act, signal) => {
    if (active >= most) {
      const { promise, resolve } = Promise.withResolvers<void>();
      queue.push(resolve);
      await promise;
    } else active += 1;
    try {
      signal.throwIfAborted();
      return await act();
    } finally {
      const following = queue.shift();
      if (following) following();
      else active -= 1;
    }
  };
}
