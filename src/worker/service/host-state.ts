import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { isAlive, type ProcessIdentity, thisProcess } from '../staging/process-identity.ts';

/** What the host of a service wrote of itself last. */
export type HostState =
  | {
      readonly state: 'running';
      readonly process: ProcessIdentity;
      readonly since: string;
      readonly service: string;
      readonly project: string;
    }
  | { readonly state: 'stopped' | 'failed'; readonly at: string; readonly reason: string | null };

const ownDirectory = (home: string): string => path.join(home, '.pilotage');
const fileOf = (home: string): string => path.join(ownDirectory(home), 'host.json');
/** What a host in the background says. */
export const logOf = (home: string): string => path.join(ownDirectory(home), 'host.log');

export function writeHostState(home: string, state: HostState): void {
  mkdirSync(ownDirectory(home), { recursive: true });
  writeFileSync(`${fileOf(home)}.part`, `${JSON.stringify(state, undefined, 2)}\n`);
  renameSync(`${fileOf(home)}.part`, fileOf(home));
}

export function runningNow(service: string, project: string): HostState {
  return { state: 'running', process: thisProcess(), since: new Date().toISOString(), service, project };
}

/** Undefined: none has ever run here. One that was killed wrote nothing: it is found by its process. */
export function readHostState(home: string): HostState | undefined {
  let found: HostState;
  try {
    found = JSON.parse(readFileSync(fileOf(home), 'utf8')) as HostState;
  } catch {
    return undefined;
  }
  if (found.state !== 'running' || isAlive(found.process)) return found;
  return {
    state: 'failed',
    at: found.since,
    reason: `process ${found.process.pid} ended without a word (killed, or the machine was)`,
  };
}
