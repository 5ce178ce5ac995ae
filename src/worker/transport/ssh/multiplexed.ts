/** All commands over one connection: a master holds it, each command is a session in it. */
import { spawn } from 'node:child_process';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { attend, type Order, type Reach } from '../attend.ts';
import { brokenOff, closed, interrupted, notStarted } from '../failures.ts';
import { type Broken, type Ended, openShell, type Shell } from '../shell.ts';
import { type Client, clientEnvironment } from './client.ts';
import type { Dialer } from './dial.ts';
import { type Forward, requestForward } from './forward.ts';
import { openGate } from './gate.ts';
import { idleShells } from './idle-shells.ts';
import { type Master, startMaster } from './master.ts';

export interface Connecting {
  readonly machine: string;
  readonly tries: number;
  readonly client: Client;
  readonly dialer: Dialer;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** Below sshd's usual MaxSessions of 10. */
const SESSIONS = 8;
/** A server that refuses even a lone session so often takes none. */
const LONE_REFUSALS = 6;
const KILL_MS = 10_000;
const FORWARD_AGAIN_MS = 3000;

export function multiplexed(connecting: Connecting): Reach {
  const { machine, tries, client, dialer, environment } = connecting;
  const gate = openGate(SESSIONS);
  const sessions = new Set<Shell>();
  const idle = idleShells();
  const forwards: Forward[] = [];
  let master: Promise<Master> | undefined;
  let connections = 0;
  let commands = 0;
  let isClosed = false;

  const dialMaster = async (): Promise<Master> => {
    connections += 1;
    const socket = `${client.files}-${connections}`;
    const dialled = await dialer.dial((askpass) => startMaster(client, socket, environment, askpass));
    if (isClosed) dialled.kill();
    for (const wanted of forwards) void renew(dialled, wanted);
    return dialled;
  };
  /** Under the same port as before, which a connection that broke off may hold for a while longer. */
  const renew = async (through: Master, wanted: Forward): Promise<void> => {
    while (!through.isGone && !isClosed) {
      const given = await requestForward(client, through.socket, wanted).catch(() => undefined);
      if (given !== undefined) return;
      await pause(FORWARD_AGAIN_MS, undefined);
    }
  };
  const forward = async (wanted: Forward): Promise<number> => {
    const through = await connected();
    const port = await requestForward(client, through.socket, wanted);
    forwards.push({ ...wanted, port });
    return port;
  };
  const forget = (gone: Promise<Master> | undefined): void => {
    if (master === gone) master = undefined;
  };
  /** The one there is, or a new one: whoever comes meanwhile waits for the same. */
  const connected = (): Promise<Master> => {
    if (isClosed) return Promise.reject(closed(machine));
    if (master) return master;
    const dialling = dialMaster();
    master = dialling;
    dialling.then(
      (dialled) => void dialled.gone.then(() => forget(dialling)),
      () => forget(dialling),
    );
    return dialling;
  };
  const openSession = ({ socket }: Master): Shell => {
    const child = spawn(client.program, client.session(socket), {
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
      env: clientEnvironment(environment, '/bin/false'),
    });
    const shell = openShell(child);
    sessions.add(shell);
    void shell.closed.then(() => sessions.delete(shell));
    return shell;
  };
  /** In a session that is there, or a new one. Both kinds of failure of a new one prove that nothing ran. */
  const runOnce = async (order: Order): Promise<Ended | BrokenSession> => {
    const through = await unlessAborted(connected(), order.signal, machine);
    const used = idle.take();
    const shell = used ?? openSession(through);
    try {
      const outcome = await attend(shell, order, machine);
      if (outcome.is === 'broken') return { ...outcome, wasUsed: used !== undefined, through };
      gate.went();
      if (!(order.input instanceof Readable)) idle.keep(shell);
      return outcome;
    } catch (error) {
      if (shell.processId !== undefined && !through.isGone) void killThere(through, shell.processId);
      throw error;
    } finally {
      await idle.release(shell);
    }
  };
  /** Killing our ssh ends nothing there: the script's process group is killed by another session. */
  const killThere = async (through: Master, processId: number): Promise<void> => {
    const shell = openSession(through);
    const order = { script: `kill -KILL -${processId}`, input: Buffer.alloc(0), maxOutputBytes: 1000 };
    await attend(shell, { ...order, timeoutMs: KILL_MS }, machine).catch(() => {});
    shell.end();
  };
  const execute = async (order: Order): Promise<Ended> => {
    let lost = 0;
    for (let refusals = 0; ; ) {
      await gate.enter(order.signal).catch((cause) => {
        throw interrupted(machine, false, cause);
      });
      let othersOpen = false;
      try {
        const outcome = await runOnce(order);
        if (outcome.is === 'ended') return outcome;
        if (outcome.wasUsed && outcome.isUnsent) continue;
        if (outcome.wasUsed || outcome.hadBegun || outcome.cause !== undefined || isClosed) {
          throw brokenOff(machine, { ...outcome, hadBegun: true });
        }
        if (isRefused(outcome)) {
          othersOpen = gate.refused();
          refusals = othersOpen ? 0 : refusals + 1;
          if (refusals >= LONE_REFUSALS) throw noSessions(machine);
        } else if (isWithoutMaster(outcome) && lost < tries) {
          lost += 1;
          // One whose socket nobody serves is none, and there are never two.
          await end(outcome.through);
        } else throw brokenOff(machine, { ...outcome, hadBegun: !isWithoutMaster(outcome) });
      } finally {
        gate.leave();
      }
      if (!othersOpen) await pause(50 * 2 ** refusals, order.signal);
    }
  };
  return {
    execute: (order) => {
      commands += 1;
      return execute(order);
    },
    connect: async (signal) => void (await unlessAborted(connected(), signal, machine)),
    forward,
    stats: () => ({ connections, commands }),
    close: async () => {
      isClosed = true;
      dialer.close();
      const open = [...sessions];
      for (const session of open) session.kill();
      const last = await master?.catch(() => undefined);
      if (last) await end(last);
      await Promise.all(open.map((session) => session.closed));
    },
  };
}

interface BrokenSession extends Broken {
  /** It had run commands before: what ssh says about sessions that cannot be opened is not about this one. */
  readonly wasUsed: boolean;
  readonly through: Master;
}

async function end(master: Master): Promise<void> {
  master.kill();
  await master.gone;
}

/** The entrance says that it was called off. */
async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await sleep(ms, undefined, signal ? { signal } : {}).catch(() => {});
}

/** More sessions than the server takes on one connection (mux.c). */
function isRefused({ noise }: Broken): boolean {
  return /Session open refused by peer|open failed: administratively prohibited/.test(noise);
}

/** No master took the request: ssh went on to connect by itself, which we made fail. Nothing ran. */
function isWithoutMaster({ noise, hadBegun }: Broken): boolean {
  return !hadBegun && /UNKNOWN port 65535/.test(noise) && !/mux_client|session request failed/.test(noise);
}

async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined, machine: string): Promise<T> {
  if (!signal) return work;
  const { promise, reject } = Promise.withResolvers<never>();
  const stop = (): void => reject(interrupted(machine, false, signal.reason));
  if (signal.aborted) stop();
  signal.addEventListener('abort', stop, { once: true });
  return Promise.race([work, promise]).finally(() => signal.removeEventListener('abort', stop));
}

function noSessions(machine: string): Error {
  const message = `'${machine}' takes the login but opens no session: its administrators limit them (MaxSessions, or a shell that is no shell)`;
  return notStarted('unreachable', message, { machine, why: 'no-session' });
}
