import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { messageOf } from '../../ground/base/errors.ts';
import type { EndedProgram, FromSpawner, StartProgram, ToSpawner } from './spawner-messages.ts';

/** What a program's owner hears of it. Exactly one of `notStarted`, `ended` and `lost` comes, as the last. */
export interface ProgramEvents {
  running(pid: number, at: number): void;
  notStarted(code: string, message: string): void;
  ended(how: EndedProgram): void;
  /** The spawner itself was killed: the program may still run, and is the owner's to end. */
  lost(): void;
}

/** A spawner process, started again when it dies. */
export interface SpawnerLink {
  /** How many lanes are open. */
  readonly lanes: number;
  openLane(): void;
  closeLane(): void;
  start(order: StartProgram, events: ProgramEvents): void;
  signal(id: string, signal: 'SIGTERM' | 'SIGKILL'): void;
  withdraw(id: string): void;
  remove(directories: readonly string[]): void;
  /** Ends the spawner and with it whatever still runs. Resolves when it is gone. */
  close(): Promise<void>;
}

export interface SpawnerOptions {
  readonly baseEnv: Readonly<Record<string, string>>;
  /** What the marks of this worker's programs begin with. */
  readonly mark: string;
  told(message: string): void;
}

const RESTART_MS = 500;
/** Beside this module, compiled or not. */
const PROGRAM = fileURLToPath(new URL(`./spawner.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url));
const FLAGS = ['--max-semi-space-size=1', '--max-old-space-size=64', '--single-threaded', '--no-warnings'];

export function startSpawner(options: SpawnerOptions): SpawnerLink {
  const owners = new Map<string, ProgramEvents>();
  let child: ChildProcess | undefined;
  let closing = false;
  let outgoing = '';
  let lanes = 0;
  const waiting: StartProgram[] = [];

  const launch = (): void => {
    const started = spawn(process.execPath, [...FLAGS, PROGRAM], {
      detached: true,
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { PATH: options.baseEnv.PATH ?? '/usr/bin:/bin' },
      cwd: '/',
    });
    child = started;
    started.stdin?.on('error', () => {});
    createInterface({ input: started.stdout as NodeJS.ReadableStream }).on('line', hear);
    started.once('error', (error) => {
      options.told(`cannot start the spawner: ${messageOf(error)}`);
      if (started.pid === undefined) relaunch(started);
    });
    started.once('close', () => started.pid !== undefined && relaunch(started));
    say({ op: 'base', env: options.baseEnv, mark: options.mark });
    for (const order of waiting.splice(0)) say(order);
  };

  const relaunch = (dead: ChildProcess): void => {
    child = undefined;
    outgoing = '';
    if (closing) return;
    options.told(
      `the spawner ended unexpectedly (${dead.signalCode ?? dead.exitCode}); its programs are ended, a new one is started`,
    );
    const orphans = [...owners.values()];
    owners.clear();
    for (const owner of orphans) owner.lost();
    setTimeout(() => !closing && launch(), RESTART_MS);
  };

  /** What is said in one turn goes out in one write. */
  const say = (message: ToSpawner): void => {
    if (outgoing === '') setImmediate(flush);
    outgoing += `${JSON.stringify(message)}\n`;
  };
  const flush = (): void => {
    const text = outgoing;
    outgoing = '';
    child?.stdin?.write(text);
  };

  const hear = (line: string): void => {
    const message = JSON.parse(line) as FromSpawner;
    if (message.is === 'trouble') {
      options.told(message.message);
      return;
    }
    const owner = owners.get(message.id);
    if (message.is === 'running') {
      owner?.running(message.pid, message.at);
      return;
    }
    owners.delete(message.id);
    if (message.is === 'ended') owner?.ended(message);
    else owner?.notStarted(message.code, message.message);
  };

  launch();
  return {
    get lanes() {
      return lanes;
    },
    openLane: () => {
      lanes += 1;
    },
    closeLane: () => {
      lanes -= 1;
    },
    start: (order, events) => {
      owners.set(order.id, events);
      if (child) say(order);
      else waiting.push(order);
    },
    signal: (id, signal) => {
      if (owners.has(id)) say({ op: 'signal', id, signal });
    },
    withdraw: (id) => {
      if (owners.has(id)) say({ op: 'withdraw', id });
    },
    remove: (directories) => {
      if (child && directories.length > 0) say({ op: 'remove', directories });
    },
    close: async () => {
      closing = true;
      const last = child;
      if (!last || last.exitCode !== null || last.signalCode !== null) return;
      const gone = Promise.withResolvers<void>();
      last.once('close', () => gone.resolve());
      flush();
      last.stdin?.end();
      await gone.promise;
    },
  };
}
