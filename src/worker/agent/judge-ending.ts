import type { BatchEnding } from '../scheduler/scheduler.ts';
import type { Ending } from './journal.ts';

/** What the exit-code file says. */
export interface ExitFile {
  readonly code: number;
  readonly word?: string;
}

export function parseExitFile(text: string): ExitFile | undefined {
  const [, code, word] = /^(\d{1,3})(?: (\S+))?\s*$/.exec(text) ?? [];
  if (code === undefined) return undefined;
  return { code: Number(code), ...(word === undefined ? {} : { word }) };
}

const SIGNALS: Readonly<Record<number, string>> = {
  1: 'SIGHUP',
  2: 'SIGINT',
  3: 'SIGQUIT',
  4: 'SIGILL',
  6: 'SIGABRT',
  7: 'SIGBUS',
  8: 'SIGFPE',
  9: 'SIGKILL',
  11: 'SIGSEGV',
  13: 'SIGPIPE',
  15: 'SIGTERM',
  24: 'SIGXCPU',
};

/**
 * How a job ended, from the exit-code file and what the batch system says together. The file is the program's own word;
 * why a program was killed, and how a job ended that left no file, only the batch system knows. At least one is given.
 */
export function judgeEnding(exit: ExitFile | undefined, ending: BatchEnding | undefined): Ending {
  if (exit?.code === 0) return { outcome: 'succeeded', exitCode: 0 };
  const killed = exit === undefined || exit.code > 128;
  // Where memory is refused instead of the program being killed, it ends by itself.
  const byLimit = killed || ending?.cause === 'memory-limit' ? limitOf(ending) : undefined;
  if (byLimit) return { ...byLimit, ...signalOf(exit) };
  if (exit) return ofExit(exit);
  return ofBatch(ending);
}

function limitOf(ending: BatchEnding | undefined): Ending | undefined {
  const said = ending?.words === undefined ? '' : ` (${ending.words})`;
  if (ending?.cause === 'time-limit') {
    const message = `it ran into its time limit and was ended${said}: give it more time`;
    return { outcome: 'failed', reason: 'time-limit', message };
  }
  if (ending?.cause === 'memory-limit') {
    const message = `it used more memory than it had asked for and was ended${said}: ask for more with --memory`;
    return { outcome: 'failed', reason: 'memory-limit', message };
  }
  return undefined;
}

function ofExit(exit: ExitFile): Ending {
  const { code, word } = exit;
  if (word === 'not-found') {
    const message =
      "the program is not there on the machine: correct its name, or the site's programDirectory or setup";
    return { outcome: 'failed', reason: 'command-not-found', exitCode: code, message };
  }
  if (word === 'not-executable') {
    const message = 'the program is there, but cannot be executed: make it executable';
    return { outcome: 'failed', reason: 'command-not-executable', exitCode: code, message };
  }
  const signal = signalOf(exit);
  if (signal.signal !== undefined)
    return { outcome: 'failed', reason: 'signal', message: `${signal.signal} ended the program`, ...signal };
  return { outcome: 'failed', reason: 'exit-code', exitCode: code };
}

function signalOf(exit: ExitFile | undefined): { readonly exitCode?: number; readonly signal?: string } {
  if (!exit) return {};
  const signal = exit.code > 128 ? SIGNALS[exit.code - 128] : undefined;
  return { exitCode: exit.code, ...(signal === undefined ? {} : { signal }) };
}

/** It left no exit code: it was killed, or its machine was lost. */
function ofBatch(ending: BatchEnding | undefined): Ending {
  const said = ending?.words === undefined ? '' : `: ${ending.words}`;
  const facts = {
    ...(ending?.exitCode === undefined ? {} : { exitCode: ending.exitCode }),
    ...(ending?.signal === undefined ? {} : { signal: ending.signal }),
  };
  switch (ending?.cause) {
    case 'cancelled':
      return {
        outcome: 'failed',
        reason: 'signal',
        message: `it was cancelled in the batch system, not by Pilotage${said}`,
        ...facts,
      };
    case 'preempted':
      return {
        outcome: 'failed',
        reason: 'worker-lost',
        message: `the batch system took its place away${said}`,
        ...facts,
      };
    case 'node-lost':
      return { outcome: 'failed', reason: 'worker-lost', message: `the machine that ran it was lost${said}`, ...facts };
    case 'start-failed':
      return {
        outcome: 'failed',
        reason: 'start-failed',
        message: `the batch system could not start it${said}`,
        ...facts,
      };
    case undefined:
      return {
        outcome: 'failed',
        reason: 'worker-lost',
        message:
          'it is gone without a word: it left no exit code, and the batch system does not know it any more. Killed by hand, out of memory, or its machine was lost',
      };
    default:
      return {
        outcome: 'failed',
        reason: ending?.signal === undefined ? 'exit-code' : 'signal',
        message: `it was killed before it could write down its exit code${said}`,
        ...facts,
      };
  }
}
