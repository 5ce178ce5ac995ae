import { setTimeout as pause } from 'node:timers/promises';
import type { Command } from 'commander';
import { systemCode } from '../../../ground/base/errors.ts';
import { calls } from '../calls.ts';
import type { Define } from '../define.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';

export function stopCommand(define: Define): Command {
  return define('stop', 'Stop a server, as an administrator; what runs goes on, and nothing is lost', stop);
}

async function stop(invocation: Invocation): Promise<number> {
  const { url, file } = invocation.address();
  const { host, pid } = await invocation.client().call(calls.stopServer);
  const isHere = file !== undefined && file.pid === pid;
  const hasEnded = isHere && (await hasGone(pid));
  await invocation.print({ server: url, host, pid, ended: hasEnded }, () =>
    hasEnded ? `the server at ${url} has ended` : `the server at ${url} (process ${pid} on ${host}) is stopping`,
  );
  return EXIT.done;
}

const PATIENCE_MS = 60_000;
const LOOK_MS = 50;

/** One of this machine is waited for, so that the next command may start another. */
async function hasGone(pid: number): Promise<boolean> {
  const deadline = performance.now() + PATIENCE_MS;
  while (performance.now() < deadline) {
    if (!isThere(pid)) return true;
    await pause(LOOK_MS);
  }
  return false;
}

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemCode(error) === 'EPERM';
  }
}
