/**
 * For an ssh that cannot multiplex: commands wait for each other and go one after the other over the connection that is
 * there, which stays open for a while. What is long under way does not hold up the rest for ever: then there is a second.
 */
import { spawn } from 'node:child_process';
import { Readable } from 'node:stream';
import { attend, type Order, type Reach } from '../attend.ts';
import { brokenOff, closed, interrupted } from '../failures.ts';
import { type Ended, openShell, type Shell } from '../shell.ts';
import { clientEnvironment } from './client.ts';
import type { Attempt } from './dial.ts';
import { idleShells } from './idle-shells.ts';
import type { Connecting } from './multiplexed.ts';

interface Waiting {
  readonly order: Order;
  readonly resolve: (ended: Ended) => void;
  readonly reject: (error: unknown) => void;
}

/** After so long in the queue a further connection is worth its cost. */
const PATIENCE_MS = 1000;
const CONNECTIONS = 4;
const KILL_MS = 10_000;

export function oneByOne(connecting: Connecting): Reach {
  const { machine, client, dialer, environment } = connecting;
  const queue: Waiting[] = [];
  const shells = new Set<Shell>();
  const idle = idleShells();
  let lanes = 0;
  let connections = 0;
  let commands = 0;
  let isClosed = false;

  const openConnection = async (): Promise<Shell> => {
    if (isClosed) throw closed(machine);
    connections += 1;
    const { shell } = await dialer.dial((askpass) => {
      const child = spawn(client.program, client.direct(), {
        detached: true,
        stdio: ['pipe', 'pipe', 'pipe'],
        env: clientEnvironment(environment, askpass),
      });
      return greet(openShell(child));
    });
    shells.add(shell);
    void shell.closed.then(() => shells.delete(shell));
    if (isClosed) shell.kill();
    return shell;
  };
  const serve = async (shell: Shell, waiting: Waiting): Promise<void> => {
    const { order, resolve, reject } = waiting;
    try {
      const outcome = await attend(shell, order, machine);
      if (outcome.is === 'ended') resolve(outcome);
      // The connection had ended before: the next one takes it.
      else if (outcome.isUnsent && !outcome.hadBegun) queue.unshift(waiting);
      // It was written to a connection that may have taken it.
      else reject(brokenOff(machine, { ...outcome, hadBegun: true }));
    } catch (error) {
      reject(error);
      if (shell.processId !== undefined && !shell.isOpen) killThere(shell.processId);
    }
  };
  const killThere = (processId: number): void => {
    const order = { script: `kill -KILL -${processId}`, input: Buffer.alloc(0), maxOutputBytes: 1000 };
    if (!isClosed) enqueue({ ...order, timeoutMs: KILL_MS }).catch(() => {});
  };
  /** Works as long as somebody waits; an input that is a stream is the last thing a shell is given. */
  const work = async (): Promise<void> => {
    let shell: Shell | undefined;
    try {
      for (;;) {
        const next = queue.shift();
        if (!next) break;
        try {
          if (!shell?.isOpen) shell = idle.take() ?? (await openConnection());
        } catch (error) {
          next.reject(error);
          // Nobody is to log in again and again for those who wait.
          for (const other of queue.splice(0)) other.reject(error);
          break;
        }
        await serve(shell, next);
        if (next.order.input instanceof Readable) {
          shell.end();
          shell = undefined;
        } else if (!shell.isOpen) await shell.closed;
      }
    } finally {
      lanes -= 1;
      if (shell) idle.keep(shell);
    }
  };
  const startLane = (): void => {
    lanes += 1;
    void work();
  };
  const patience = (waiting: Waiting): void => {
    const timer = setTimeout(() => {
      if (queue.includes(waiting) && lanes < CONNECTIONS) startLane();
      if (queue.includes(waiting)) patience(waiting);
    }, PATIENCE_MS);
    timer.unref();
  };
  const withdraw = (waiting: Waiting): void => {
    const at = queue.indexOf(waiting);
    if (at < 0) return;
    queue.splice(at, 1);
    waiting.reject(interrupted(machine, false, waiting.order.signal?.reason));
  };
  const enqueue = (order: Order): Promise<Ended> => {
    const { promise, resolve, reject } = Promise.withResolvers<Ended>();
    if (isClosed) return Promise.reject(closed(machine));
    if (order.signal?.aborted) return Promise.reject(interrupted(machine, false, order.signal.reason));
    const waiting: Waiting = { order, resolve, reject };
    queue.push(waiting);
    order.signal?.addEventListener('abort', () => withdraw(waiting), { once: true });
    if (lanes === 0) startLane();
    else patience(waiting);
    return promise;
  };
  return {
    execute: (order) => {
      commands += 1;
      return enqueue(order);
    },
    connect: async (signal) => {
      if (shells.size > 0) return;
      await enqueue({ script: ':', input: Buffer.alloc(0), maxOutputBytes: 1000, ...(signal ? { signal } : {}) });
    },
    stats: () => ({ connections, commands }),
    close: async () => {
      isClosed = true;
      dialer.close();
      for (const waiting of queue.splice(0)) waiting.reject(closed(machine));
      const open = [...shells];
      for (const shell of open) shell.kill();
      await Promise.all(open.map((shell) => shell.closed));
    },
  };
}

/** Connected is what has run something. */
function greet(shell: Shell): Attempt & { readonly shell: Shell } {
  const ready = shell.run({ script: ':', input: Buffer.alloc(0), maxOutputBytes: 1000 }).then(async (outcome) => {
    if (outcome.is === 'broken') await new Promise(() => {});
  });
  return { shell, ready, gone: shell.closed, said: () => shell.noise, kill: shell.kill };
}
