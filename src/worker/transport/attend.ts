import type { PilotageError } from '../../ground/base/errors.ts';
import { interrupted, timedOut } from './failures.ts';
import type { Command, Ended, Outcome, Shell } from './shell.ts';
import type { Forward } from './ssh/forward.ts';

/** A command with what may end it early. */
export interface Order extends Command {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** Runs one script in a shell that is there. Rejects when it has to end early; the shell is killed then. */
export async function attend(shell: Shell, order: Order, machine: string): Promise<Outcome> {
  const { signal, timeoutMs } = order;
  let early: ((hadBegun: boolean) => PilotageError) | undefined;
  const stop = (why: (hadBegun: boolean) => PilotageError): void => {
    early ??= why;
    shell.kill();
  };
  const abort = (): void => stop((hadBegun) => interrupted(machine, hadBegun, signal?.reason));
  const timer =
    timeoutMs === undefined
      ? undefined
      : setTimeout(() => stop((hadBegun) => timedOut(machine, timeoutMs, hadBegun)), timeoutMs);
  if (signal?.aborted) throw interrupted(machine, false, signal.reason);
  signal?.addEventListener('abort', abort, { once: true });
  try {
    const outcome = await shell.run(order);
    // What was sent may have been on its way when the connection was killed.
    if (outcome.is === 'broken' && early) throw early(true);
    return outcome;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
  }
}

/** How commands get to a machine. */
export interface Reach {
  execute(order: Order): Promise<Ended>;
  connect(signal?: AbortSignal): Promise<void>;
  forward?(wanted: Forward): Promise<number>;
  stats(): { connections: number; commands: number };
  close(): Promise<void>;
}

export interface Over {
  readonly machine: string;
  /** How often a transfer begins again that makes no headway. */
  readonly tries: number;
  readonly reach: Reach;
}
