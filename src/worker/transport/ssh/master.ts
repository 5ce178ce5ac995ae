import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { killGroup } from '../shell.ts';
import { type Client, clientEnvironment } from './client.ts';
import type { Attempt } from './dial.ts';

/** The process that holds the connection; sessions go through its socket. */
export interface Master extends Attempt {
  readonly socket: string;
  readonly isGone: boolean;
}

/**
 * ssh as a master does not see that we have died, and would hold the connection for ever. So a shell waits beside it for
 * the end of our pipe, which the system closes for us, however we end.
 */
const WATCHED = `exec 3<&0
"$@" </dev/null 3<&- &
ssh=$!
{ read -r end <&3; kill $ssh; } 2>/dev/null &
watch=$!
exec 3<&-
wait $ssh; code=$?
kill $watch
exit $code`;

const LOOK_MS = 25;
const SAID_BYTES = 64 * 1024;

export function startMaster(
  client: Client,
  socket: string,
  environment: Readonly<Record<string, string | undefined>>,
  askpass: string,
): Master {
  const child = spawn('/bin/sh', ['-c', WATCHED, 'sh', client.program, ...client.master(socket)], {
    detached: true,
    stdio: ['pipe', 'ignore', 'pipe'],
    env: clientEnvironment(environment, askpass),
  });
  const gone = Promise.withResolvers<void>();
  let isGone = false;
  let said = '';
  const end = (): void => {
    isGone = true;
    // What it left in its group: proxies, and the shell that watched.
    killGroup(child);
    rmSync(socket, { force: true });
    gone.resolve();
  };
  child.stderr?.on('data', (piece: Buffer) => {
    said = (said + piece).slice(-SAID_BYTES);
  });
  child.stdin?.on('error', () => {});
  child.once('error', (error) => {
    said += error.message;
    end();
  });
  // Its last words may still be in the pipe, which a proxy of it can hold open.
  child.once('exit', () => void Promise.race([closeOf(child), sleep(500)]).then(end));
  const stopped = (): boolean => isGone;
  return {
    socket,
    get isGone() {
      return isGone;
    },
    ready: waitForSocket(socket, stopped),
    gone: gone.promise,
    said: () => said,
    kill: () => killGroup(child),
  };
}

function closeOf(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => child.once('close', () => resolve()));
}

/** ssh makes the socket after the login. Never resolves when there is none to come. */
async function waitForSocket(socket: string, stopped: () => boolean): Promise<void> {
  while (!existsSync(socket)) {
    if (stopped()) return new Promise(() => {});
    await sleep(LOOK_MS);
  }
}
