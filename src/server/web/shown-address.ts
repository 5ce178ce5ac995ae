/**
 * An address as it may be seen in logs: without its query, and without the secret of a job's link. Whatever follows the
 * number of a job goes, in the page's address and in the API's, also where it fits no route.
 */
export function shownAddress(url: string): string {
  const path = decoded(url.split('?')[0] ?? '');
  return path.replace(/(\/(?:jobs|links)(?:\/+[^/]*){2}\/).+/i, '$1…');
}

/** The router reads `/%6aobs/` as `/jobs/`: so does this. */
function decoded(path: string): string {
  try {
    return decodeURI(path);
  } catch {
    return path;
  }
}
