import { tmpdir, userInfo } from 'node:os';
import path from 'node:path';

/** Where workers keep what must outlive them, unless they are told another place. */
export function usualWorkDirectory(): string {
  return path.join(tmpdir(), `pilotage-worker-${userInfo().uid}`);
}
