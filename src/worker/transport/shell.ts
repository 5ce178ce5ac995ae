/** A /bin/sh at the other end of a child process (itself, or an ssh), that is given one script after another. */
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { Readable, type Writable } from 'node:stream';
import { commandLine, newMarks } from './command-line.ts';
import { type KeptOutput, keptOutput } from './kept-output.ts';
import { type MarkedOutput, markedOutput } from './marked-output.ts';

export interface Command {
  readonly script: string;
  /** A stream takes the shell's whole input: no further script can follow. */
  readonly input: Uint8Array | Readable;
  readonly output?: Writable;
  readonly maxOutputBytes: number;
}

export type Outcome = Ended | Broken;

export interface Ended {
  readonly is: 'ended';
  readonly exitCode: number;
  readonly stdout: KeptOutput;
  readonly stderr: KeptOutput;
}

/** The shell is gone. Whether the script ended is not known; unless it had begun, neither whether it ever ran. */
export interface Broken {
  readonly is: 'broken';
  readonly hadBegun: boolean;
  /** The script surely never got there: nobody took its line. */
  readonly isUnsent: boolean;
  /** What was printed outside of scripts: ssh's own messages are in there. */
  readonly noise: string;
  /** Taking the output away failed here. */
  readonly cause?: unknown;
}

export interface Shell {
  /** One at a time. Never rejects but for a script that cannot be sent. */
  run(command: Command): Promise<Outcome>;
  /** Of the shell there, once a script has begun: it leads its process group. */
  readonly processId: number | undefined;
  readonly noise: string;
  readonly isOpen: boolean;
  /** Resolves when the child process is gone. */
  readonly closed: Promise<void>;
  /** No more scripts. What does not go by itself soon is killed. */
  end(): void;
  /** Kills the child process with its group. */
  kill(): void;
}

/** What is kept of noise: ssh's message about the end comes last, a banner first. */
const NOISE_BYTES = 64 * 1024;
/** After the end of the child somebody it started may hold its output open. */
const DRAIN_MS = 1000;
const LINGER_MS = 2000;

interface Current {
  readonly command: Command;
  readonly stdout: KeptOutput;
  readonly stderr: KeptOutput;
  hadBegun: boolean;
  isUnsent: boolean;
  endsLeft: number;
  readonly done: (outcome: Outcome) => void;
}

/** @param child in a process group of its own. */
export function openShell(child: ChildProcessWithoutNullStreams): Shell {
  const gone = Promise.withResolvers<void>();
  let noise = '';
  let isOpen = true;
  let isLeft = true;
  let processId: number | undefined;
  let current: Current | undefined;
  let failure: unknown;

  const finish = (outcome: Outcome): void => {
    const ended = current;
    current = undefined;
    ended?.done(outcome);
  };
  const breakOff = (): void => {
    isOpen = false;
    isLeft = false;
    gone.resolve();
    const cause = failure === undefined ? {} : { cause: failure };
    finish({
      is: 'broken',
      hadBegun: current?.hadBegun ?? false,
      isUnsent: current?.isUnsent ?? false,
      noise,
      ...cause,
    });
  };
  const kill = (): void => killGroup(child);
  /** Not a byte is taken from a stream before the script is there: until then the command can be given to another shell. */
  const begin = (begun: Current): void => {
    const { input } = begun.command;
    if (begun.hadBegun) return;
    begun.hadBegun = true;
    if (!(input instanceof Readable)) return;
    input.once('error', (error) => {
      failure ??= error;
      kill();
    });
    input.pipe(child.stdin);
  };
  const hear = (which: 'stdout' | 'stderr'): MarkedOutput =>
    markedOutput({
      begun: (id) => {
        processId = id;
        if (current) begin(current);
      },
      bytes: (piece) => {
        if (which === 'stdout' && current?.command.output) return writeTo(current.command.output, piece);
        current?.[which].add(piece);
        return undefined;
      },
      ended: (exitCode) => {
        if (!current || --current.endsLeft > 0) return;
        finish({ is: 'ended', exitCode, stdout: current.stdout, stderr: current.stderr });
      },
      noise: (piece) => {
        noise = (noise + piece.toString()).slice(-NOISE_BYTES);
      },
    });
  const heard = { stdout: hear('stdout'), stderr: hear('stderr') };
  const pump = async (which: 'stdout' | 'stderr'): Promise<void> => {
    try {
      for await (const piece of child[which]) await heard[which].take(piece as Buffer);
    } catch (error) {
      failure ??= error;
      kill();
    }
  };
  const drained = Promise.all([pump('stdout'), pump('stderr')]);
  child.stdin.on('error', () => {});
  child.once('error', (error) => {
    noise += error.message;
    breakOff();
  });
  child.once(
    'exit',
    () =>
      void within(DRAIN_MS, drained)
        .then(() => dropPipes(child))
        .then(breakOff),
  );

  return {
    get processId() {
      return processId;
    },
    get noise() {
      return noise;
    },
    get isOpen() {
      return isOpen;
    },
    closed: gone.promise,
    kill,
    end: () => {
      child.stdin.end();
      void within(LINGER_MS, gone.promise).then(() => isLeft && kill());
    },
    run: async (command) => {
      const { promise, resolve } = Promise.withResolvers<Outcome>();
      const marks = newMarks();
      const { input } = command;
      const line = commandLine(command.script, marks, input instanceof Readable ? 'rest' : input);
      if (!isOpen) return { is: 'broken', hadBegun: false, isUnsent: true, noise };
      const kept = (): KeptOutput => keptOutput(command.maxOutputBytes);
      current = {
        command,
        stdout: kept(),
        stderr: kept(),
        hadBegun: false,
        isUnsent: false,
        endsLeft: 2,
        done: resolve,
      };
      heard.stdout.expect(marks);
      heard.stderr.expect(marks);
      const sent = current;
      // A part of a line is no line: it is not run.
      child.stdin.write(line, (error) => {
        if (error) sent.isUnsent = true;
      });
      return promise.finally(() => {
        if (input instanceof Readable) input.unpipe(child.stdin);
      });
    },
  };
}

/** The child leads a group: whatever it started goes with it. */
export function killGroup(child: { readonly pid?: number | undefined }): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // It is gone already.
  }
}

function dropPipes(child: ChildProcessWithoutNullStreams): void {
  for (const stream of child.stdio) stream?.destroy();
}

async function writeTo(output: Writable, piece: Buffer): Promise<void> {
  if (output.destroyed) throw output.errored ?? new Error('the output was closed');
  if (output.write(piece)) return;
  // A destroyed stream never drains.
  const stop = new AbortController();
  const { signal } = stop;
  await Promise.race([once(output, 'drain', { signal }), once(output, 'close', { signal })]).finally(() =>
    stop.abort(),
  );
}

async function within(ms: number, work: Promise<unknown>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  await Promise.race([work.then(() => {}), promise]);
  clearTimeout(timer);
}
