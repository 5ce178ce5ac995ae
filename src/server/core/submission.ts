/**
 * The gate of a submission stands before all its tasks at once, so that a million of them change together.
 *
 *   loading ──close──▶ waiting ──dependencies fulfilled, time come──▶ open
 *
 * Behind a waiting gate a row that says `queued` is shown as `waiting`. A submission that is loading is not shown.
 * A submission may also be `ending`: nothing of it is claimed any more, and its unfinished tasks are ended in chunks.
 */
export type Gate = 'loading' | 'waiting' | 'open';

/** The state that people see of a task whose row says `state`. */
export function shownState<S extends string>(state: S, gate: Gate): S | 'waiting' {
  return state === 'queued' && gate === 'waiting' ? 'waiting' : state;
}
