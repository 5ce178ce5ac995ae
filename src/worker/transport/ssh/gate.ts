/** How many sessions are open at once on one connection. The server's own limit (MaxSessions) shows only when it refuses. */
export interface Gate {
  /** Resolves when there is room. */
  enter(signal?: AbortSignal): Promise<void>;
  leave(): void;
  /** The server refused one: fewer from now on. Says whether others were open, whose end makes room. */
  refused(): boolean;
  /** One went well: after a while one more is tried. */
  went(): void;
}

/** So many that went well, and one more is tried. */
const GOOD_BEFORE_MORE = 25;

export function openGate(most: number): Gate {
  const waiting: (() => void)[] = [];
  let limit = most;
  let inside = 0;
  let good = 0;
  const letIn = (): void => {
    while (inside < limit && waiting.length > 0) {
      inside += 1;
      waiting.shift()?.();
    }
  };
  return {
    enter: async (signal) => {
      signal?.throwIfAborted();
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const giveUp = (): void => {
        const at = waiting.indexOf(resolve);
        if (at < 0) return;
        waiting.splice(at, 1);
        reject(signal?.reason);
      };
      signal?.addEventListener('abort', giveUp, { once: true });
      waiting.push(resolve);
      letIn();
      await promise.finally(() => signal?.removeEventListener('abort', giveUp));
    },
    leave: () => {
      inside -= 1;
      letIn();
    },
    refused: () => {
      good = 0;
      const others = inside - 1;
      limit = Math.max(1, Math.min(limit, others));
      return others > 0;
    },
    went: () => {
      good += 1;
      if (good < GOOD_BEFORE_MORE || limit >= most) return;
      good = 0;
      limit += 1;
      letIn();
    },
  };
}
