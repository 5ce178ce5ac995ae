/**
 * A process of its own that does nothing but start programs and see them end. It stays small because the time that a
 * start takes grows with the memory of the process that makes it (measured: 1118 a second at 46 MB, 145 at 568 MB).
 * So: builtins only, everything by system calls that return at once, and no work that the worker can do as well.
 *
 * Its life hangs on standard input: when that closes, the worker is gone, and all its programs are ended.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import { removeDirectory } from '../../ground/content/remove-directory.ts';
import { findMarked, signalProcess, statFields } from './marked-processes.ts';
import {
  type FromSpawner,
  monotonicMs,
  NO_DIRECTORY,
  type StartProgram,
  type ToSpawner,
  WITHDRAWN,
} from './spawner-messages.ts';

interface Program {
  readonly id: string;
  readonly lane: string;
  readonly child: ChildProcess;
  readonly pid: number;
  readonly startedAt: number;
  readonly stdout: number;
  readonly stderr: number;
  told: boolean;
}

/** Programs that are over sooner than this are never reported as running. */
const TELL_AFTER_MS = 20;
const SOON_MS = 5;
const LEFTOVER_TERM_MS = 2000;
const LOOK_EVERY_MS = 10;

const programs = new Map<string, Program>();
/** What waits for the program before it, by lane; a lane that runs something is listed. */
const lanes = new Map<string, StartProgram[]>();
const removals: string[] = [];
let base: Readonly<Record<string, string>> = {};
let mark = '';
let outgoing = '';
let flushing = false;
let soon: NodeJS.Timeout | undefined;
let justEnded: Array<{ program: Program; exitCode: number | null; signal: string | null; wallMs: number }> = [];
let telling = false;
let removing = false;
let cpuTicks = 0;
Error.stackTraceLimit = 0;

const ownStat = fs.openSync('/proc/self/stat', 'r');
const statBuffer = Buffer.alloc(1024);

// Incoming

function take(message: ToSpawner): void {
  if (message.op === 'start') enqueue(message);
  else if (message.op === 'signal') signal(message.id, message.signal);
  else if (message.op === 'withdraw') withdraw(message.id);
  else if (message.op === 'remove') {
    removals.push(...message.directories);
    if (!removing) setImmediate(removeNext);
    removing = true;
  } else {
    base = message.env;
    mark = message.mark;
  }
}

function enqueue(order: StartProgram): void {
  const lane = lanes.get(order.lane);
  if (lane) lane.push(order);
  else {
    lanes.set(order.lane, []);
    start(order);
  }
}

/** The next of a lane starts before anything else is done: the worker has seen to it that it may. */
function startNext(lane: string): void {
  const next = lanes.get(lane)?.shift();
  if (next) start(next);
  else lanes.delete(lane);
}

function signal(id: string, name: 'SIGTERM' | 'SIGKILL'): void {
  const program = programs.get(id);
  if (program) signalGroup(program, name);
  else withdraw(id);
}

function withdraw(id: string): void {
  for (const lane of lanes.values()) {
    const at = lane.findIndex((order) => order.id === id);
    if (at === -1) continue;
    lane.splice(at, 1);
    say({ is: 'not-started', id, code: WITHDRAWN, message: '' });
  }
}

function start(order: StartProgram): void {
  const opened: number[] = [];
  let prepared = false;
  try {
    const { directory } = order;
    makeDirectory(directory);
    makeDirectory(`${directory}/sandbox`);
    makeDirectory(`${directory}/tmp`);
    fs.writeFileSync(`${directory}/token`, order.token, { mode: 0o600 });
    opened.push(fs.openSync(`${directory}/stdout`, 'w', 0o600), fs.openSync(`${directory}/stderr`, 'w', 0o600));
    prepared = true;
    launch(order, opened as [number, number]);
  } catch (error) {
    for (const file of opened) fs.closeSync(file);
    notStarted(order, error as NodeJS.ErrnoException, prepared);
  }
}

function makeDirectory(directory: string): void {
  try {
    fs.mkdirSync(directory, 0o700);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
    else if (code !== 'EEXIST') throw error;
  }
}

function launch(order: StartProgram, [stdout, stderr]: [number, number]): void {
  const [file = '', ...rest] = order.command;
  const startedAt = monotonicMs();
  const child = spawn(file, rest, {
    cwd: `${order.directory}/sandbox`,
    env: { ...base, ...order.env },
    detached: true,
    stdio: ['ignore', stdout, stderr],
  });
  if (child.pid === undefined) {
    child.once('error', (error) => {
      fs.closeSync(stdout);
      fs.closeSync(stderr);
      notStarted(order, error, true);
    });
    return;
  }
  const program: Program = {
    id: order.id,
    lane: order.lane,
    child,
    pid: child.pid,
    startedAt,
    stdout,
    stderr,
    told: false,
  };
  programs.set(order.id, program);
  child.once('exit', (exitCode, signal) => {
    if (justEnded.length === 0) setImmediate(accountEnded);
    justEnded.push({ program, exitCode, signal, wallMs: monotonicMs() - startedAt });
  });
  if (!telling) {
    telling = true;
    setTimeout(tellRunning, TELL_AFTER_MS);
  }
}

function signalGroup(program: Program | undefined, signal: NodeJS.Signals | 0): boolean {
  if (!program) return false;
  try {
    return process.kill(-program.pid, signal);
  } catch {
    return false;
  }
}

// Outgoing

function say(message: FromSpawner): void {
  if (!flushing) setImmediate(flush);
  flushing = true;
  outgoing += `${JSON.stringify(message)}\n`;
}

/** For what can wait a moment, until more has come together: the worker is woken less often. */
function saySoon(message: FromSpawner): void {
  outgoing += `${JSON.stringify(message)}\n`;
  soon ??= setTimeout(flush, SOON_MS);
}

function flush(): void {
  clearTimeout(soon);
  soon = undefined;
  flushing = false;
  if (outgoing === '') return;
  const text = outgoing;
  outgoing = '';
  process.stdout.write(text);
}

/** What fails while its directory is made is this machine's trouble, whatever the code. */
function notStarted(order: StartProgram, error: NodeJS.ErrnoException, prepared: boolean): void {
  const code = prepared ? (error.code ?? 'UNKNOWN') : NO_DIRECTORY;
  say({ is: 'not-started', id: order.id, code, message: error.message });
  startNext(order.lane);
}

function tellRunning(): void {
  telling = false;
  const old = monotonicMs() - TELL_AFTER_MS + 1;
  for (const program of programs.values()) {
    if (program.told) continue;
    if (program.startedAt > old) {
      if (!telling) setTimeout(tellRunning, TELL_AFTER_MS);
      telling = true;
      continue;
    }
    program.told = true;
    say({ is: 'running', id: program.id, pid: program.pid, at: program.startedAt });
  }
}

// The end of a program

/** The kernel counts what was waited for in this process: with one end since the last look, all of it is that one's. */
function accountEnded(): void {
  const ended = justEnded;
  justEnded = [];
  const before = cpuTicks;
  cpuTicks = childTicks();
  const cpuSeconds = ended.length === 1 ? { cpuSeconds: (cpuTicks - before) / 100 } : {};
  for (const { program, exitCode, signal, wallMs } of ended) {
    endLeftovers(program, () => {
      programs.delete(program.id);
      const sizes = { stdoutBytes: sizeOf(program.stdout), stderrBytes: sizeOf(program.stderr) };
      const tell = lanes.get(program.lane)?.length ? saySoon : say;
      tell({ is: 'ended', id: program.id, exitCode, signal, wallMs, ...cpuSeconds, ...sizes });
      startNext(program.lane);
    });
  }
}

function childTicks(): number {
  const text = statBuffer.toString('latin1', 0, fs.readSync(ownStat, statBuffer, 0, statBuffer.length, 0));
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return Number(fields[13]) + Number(fields[14]);
}

function sizeOf(file: number): number {
  const { size } = fs.fstatSync(file);
  fs.closeSync(file);
  return size;
}

/** What the program left running in its group ends with it: TERM, then KILL. */
function endLeftovers(program: Program, then: () => void): void {
  if (!signalGroup(program, 'SIGTERM')) {
    then();
    return;
  }
  const deadline = monotonicMs() + LEFTOVER_TERM_MS;
  const look = (): void => {
    const late = monotonicMs() - deadline;
    if (!isGroupAlive(program.pid) || late > 1000) {
      then();
      return;
    }
    if (late >= 0) signalGroup(program, 'SIGKILL');
    setTimeout(look, LOOK_EVERY_MS);
  };
  look();
}

/** Dead processes whose new parent is slow to take note of them do not count. */
function isGroupAlive(group: number): boolean {
  return fs.readdirSync('/proc').some((name) => {
    const fields = /^\d+$/.test(name) ? statFields(Number(name)) : undefined;
    return fields !== undefined && fields[0] !== 'Z' && fields[0] !== 'X' && Number(fields[2]) === group;
  });
}

// Removing directories, one at a time between other work

function removeNext(): void {
  const directory = removals.pop();
  removing = directory !== undefined;
  if (directory === undefined) return;
  try {
    for (const file of ['token', 'stdout', 'stderr']) fs.unlinkSync(`${directory}/${file}`);
    for (const inner of ['sandbox', 'tmp']) fs.rmdirSync(`${directory}/${inner}`);
    fs.rmdirSync(directory);
    setImmediate(removeNext);
  } catch {
    removeDirectory(directory)
      .catch((error: Error) => say({ is: 'trouble', message: `cannot remove ${directory}: ${error.message}` }))
      .finally(removeNext);
  }
}

// The end of the worker

function endAll(): void {
  lanes.clear();
  const all = [...programs.values()];
  for (const program of all) signalGroup(program, 'SIGTERM');
  const deadline = monotonicMs() + LEFTOVER_TERM_MS;
  const look = (): void => {
    const late = monotonicMs() >= deadline;
    const left = all.filter((program) => isGroupAlive(program.pid));
    if (late) for (const program of left) signalGroup(program, 'SIGKILL');
    if (left.length === 0 || monotonicMs() > deadline + 2000) endEscaped();
    else setTimeout(look, LOOK_EVERY_MS);
  };
  look();
}

/** Those that left their group are found by their mark; another spawner of the same worker may do the same. */
function endEscaped(): void {
  if (mark !== '') for (const target of findMarked(mark)) signalProcess(target, 'SIGKILL');
  process.exit(0);
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGPIPE'] as const) process.on(signal, () => {});
process.stdout.on('error', () => {});

let rest = '';
process.stdin.setEncoding('utf8');
process.stdin.on('data', (text: string) => {
  const lines = (rest + text).split('\n');
  rest = lines.pop() ?? '';
  for (const line of lines) take(JSON.parse(line) as ToSpawner);
});
process.stdin.on('error', () => {});
process.stdin.once('close', endAll);
