import { readdirSync, readFileSync } from 'node:fs';

/** In the environment of all that a service's hooks start. */
export const MARK = 'PILOTAGE_SERVICE';

/**
 * Ends what hooks of a host that was killed have left running: they would go on in directories that are about to move.
 * Only processes of this user and machine can be seen. Returns how many there were.
 */
export function endLeftovers(mark: string): number {
  const wanted = `${MARK}=${mark}`;
  let ended = 0;
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue;
    try {
      if (!readFileSync(`/proc/${name}/environ`, 'latin1').split('\0').includes(wanted)) continue;
      process.kill(Number(name), 'SIGKILL');
      ended += 1;
    } catch {
      // Another user's, or it has ended.
    }
  }
  return ended;
}
