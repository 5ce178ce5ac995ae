import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type HostState, logOf, readHostState } from './host-state.ts';

const LOOK_MS = 50;
const START_SECONDS = 90;
const STOP_SECONDS = 30;

/** Starts a host in the background, and waits until it hosts or says why not. `argv` runs it in the foreground. */
export async function startInBackground(
  home: string,
  argv: readonly string[],
  patienceSeconds = START_SECONDS,
): Promise<HostState> {
  mkdirSync(path.dirname(logOf(home)), { recursive: true });
  const log = openSync(logOf(home), 'a');
  const [program = '', ...words] = argv;
  const child = spawn(program, words, { cwd: home, detached: true, stdio: ['ignore', log, log] });
  closeSync(log);
  const before = readHostState(home);
  let hasEnded = false;
  child.once('exit', () => {
    hasEnded = true;
  });
  child.unref();
  for (let waited = 0; waited < patienceSeconds * 1000; waited += LOOK_MS) {
    const state = readHostState(home);
    if (state?.state === 'running' && state.process.pid === child.pid) return state;
    if (hasEnded) {
      const last = readHostState(home);
      if (last && JSON.stringify(last) !== JSON.stringify(before)) return last;
      return {
        state: 'failed',
        at: new Date().toISOString(),
        reason: `it ended at once: '${logOf(home)}' may say why`,
      };
    }
    await pause(LOOK_MS);
  }
  // Whoever reads 'is stopped' must not find it running later.
  child.kill('SIGKILL');
  return {
    state: 'failed',
    at: new Date().toISOString(),
    reason: `it did not say within ${patienceSeconds} s that it is ready, and was ended: see '${logOf(home)}', or try 'pilotage service run' to watch it`,
  };
}

/** False: it did not end in time. A host that does not run is stopped already. */
export async function stopInBackground(home: string): Promise<boolean> {
  const state = readHostState(home);
  if (state?.state !== 'running') return true;
  const { pid } = state.process;
  process.kill(pid, 'SIGTERM');
  for (let waited = 0; waited < STOP_SECONDS * 1000; waited += LOOK_MS) {
    const now = readHostState(home);
    if (now?.state !== 'running' || now.process.pid !== pid) return true;
    await pause(LOOK_MS);
  }
  return false;
}
