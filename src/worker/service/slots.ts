/** The service's `limits.running`: so many jobs may be on their way through RUNNING. A slot that is given back is taken at once. */
export interface Slots {
  /** Resolves when there is room. `first`: before those that have not begun. Rejects when the signal aborts. */
  take(signal: AbortSignal, first?: boolean): Promise<void>;
  /** Without asking: it has one from before. */
  keep(): void;
  giveBack(): void;
}

export function createSlots(most: number): Slots {
  let taken = 0;
  const first: (() => void)[] = [];
  const others: (() => void)[] = [];
  const letIn = (): void => {
    while (taken < most) {
      const next = first.shift() ?? others.shift();
      if (!next) return;
      taken += 1;
      next();
    }
  };
  return {
    take(signal, isFirst = false) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const queue = isFirst ? first : others;
      const leave = (): void => {
        const at = queue.indexOf(resolve);
        if (at < 0) return;
        queue.splice(at, 1);
        reject(signal.reason);
      };
      if (signal.aborted) return Promise.reject(signal.reason);
      signal.addEventListener('abort', leave, { once: true });
      queue.push(resolve);
      letIn();
      return promise.finally(() => signal.removeEventListener('abort', leave));
    },
    keep() {
      taken += 1;
    },
    giveBack() {
      taken -= 1;
      letIn();
    },
  };
}
