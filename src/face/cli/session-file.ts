/** Logins of this user, one file of mode 0600 for each server, in the directory for state (XDG base directories). */
import { chmodSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { CliContext } from './context.ts';

type Env = CliContext['env'];

export function sessionFile(env: Env, url: string): string {
  const state = env.XDG_STATE_HOME || path.join(env.HOME ?? os.homedir(), '.local', 'state');
  return path.join(state, 'pilotage', 'sessions', encodeURIComponent(url));
}

/** The file with the login at that server, if there is one. */
export function findSession(env: Env, url: string): string | undefined {
  const file = sessionFile(env, url);
  return existsSync(file) ? file : undefined;
}

/** Whole or not at all: other commands may be reading it. */
export function keepSession(file: string, token: string): void {
  const directory = path.dirname(file);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  chmodSync(directory, 0o700);
  const temporary = `${file}.${process.pid}`;
  writeFileSync(temporary, `${token}\n`, { mode: 0o600 });
  renameSync(temporary, file);
}

export function forgetSession(file: string): void {
  rmSync(file, { force: true });
}
