/** How long to wait before looking again. */

/** Quick while a job is young in the reader's eyes, then as the server says. `null`: nothing changes any more. */
export function nextLookSeconds(retryAfterSeconds: number | null, watchedSeconds: number): number | null {
  if (retryAfterSeconds === null) return null;
  const most = watchedSeconds < 20 ? 1 : watchedSeconds < 120 ? 3 : watchedSeconds < 900 ? 10 : 60;
  return Math.max(1, Math.min(retryAfterSeconds, most));
}

/** After so many looks in a row that got no answer. */
export function nextTrySeconds(failures: number): number {
  return Math.min(30, 2 ** Math.max(0, failures - 1));
}
