import { mkdirSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import path from 'node:path';

/** For sockets: of this user alone, with a short name. */
export function controlDirectory(): string {
  const directory = path.join(tmpdir(), `pilotage-ssh-${userInfo().uid}`);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  return directory;
}
