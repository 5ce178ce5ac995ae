/** What the clock goes by: the wall clock (which may jump) and one that only runs forward, both in milliseconds. */
export interface TimeSources {
  wall(): number;
  monotonic(): number;
}

/** How much faster than real time the clock may run to catch up with a wall clock that is ahead. */
const CATCH_UP = 0.1;

/**
 * A clock that never runs backwards, also across restarts, and never jumps: leases must not expire because somebody
 * set the time. It starts at the wall clock or, if that is earlier, where it was kept; then real time moves it, and it
 * drifts towards a wall clock that is ahead. Behind it, it waits for the wall clock at normal speed.
 */
export function steadyClock(kept: number, sources: TimeSources): () => number {
  let now = Math.max(kept, sources.wall());
  let last = sources.monotonic();
  return () => {
    const monotonic = sources.monotonic();
    const passed = Math.max(0, monotonic - last);
    last = monotonic;
    now += passed;
    const ahead = sources.wall() - now;
    if (ahead > 0) now += Math.min(ahead, passed * CATCH_UP);
    return Math.floor(now);
  };
}
