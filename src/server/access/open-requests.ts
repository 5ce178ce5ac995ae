/** Whether somebody may still what they could when they asked: undefined; `less`; or the error that they would get now. */
export type Look = () => Promise<Error | 'less' | undefined>;

/** Requests that are not answered yet, or whose answer goes on. Most are over before anybody looks. */
export interface OpenRequests {
  /**
   * Looks after a change of what people may do, and every few seconds: a token runs out by itself, and a note of another
   * server may be lost. Calls `end` once, when somebody may not any more. Returns what ends the looking.
   */
  add(look: Look, end: (over: Error | 'less') => void): () => void;
  changed(): void;
}

const LOOK_MS = 1500;

interface Open {
  readonly look: Look;
  readonly end: (over: Error | 'less') => void;
  /** It was there in the round before. */
  isOld: boolean;
}

export function createOpenRequests(lookMs = LOOK_MS): OpenRequests {
  const open = new Set<Open>();
  let timer: NodeJS.Timeout | undefined;
  const lookAt = async (one: Open) => {
    // A database that does not answer says nothing about anybody.
    const over = await one.look().catch(() => undefined);
    if (over !== undefined && open.delete(one)) one.end(over);
  };
  const round = () => {
    for (const one of open) {
      if (one.isOld) void lookAt(one);
      one.isOld = true;
    }
    if (open.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  };
  return {
    add(look, end) {
      const one = { look, end, isOld: false };
      open.add(one);
      timer ??= setInterval(round, lookMs).unref();
      return () => void open.delete(one);
    },
    changed() {
      for (const one of open) void lookAt(one);
    },
  };
}
