/** What can go wrong with a command there, each told as what happened, to what, and what to do now. */

import { formatDuration } from '../../ground/base/duration.ts';
import { type ErrorCode, PilotageError } from '../../ground/base/errors.ts';
import type { Broken } from './shell.ts';

/** May the script have run, wholly or in part? Otherwise it surely did not. */
export function mayHaveRun(error: unknown): boolean {
  return error instanceof PilotageError && error.details.mayHaveRun === true;
}

export function notStarted(code: ErrorCode, message: string, details: Record<string, unknown> = {}): PilotageError {
  return new PilotageError(code, message, { details: { ...details, mayHaveRun: false } });
}

export function connectionLost(machine: string, why: string, mayHaveRun = true): PilotageError {
  const known = mayHaveRun ? 'it is not known how the command ended' : 'the command did not run';
  return new PilotageError(
    'connection-lost',
    `the connection to '${machine}' was lost (${why}): ${known}; it is made again with the next command`,
    { details: { machine, mayHaveRun } },
  );
}

export function timedOut(machine: string, timeoutMs: number, hadBegun: boolean): PilotageError {
  return new PilotageError(
    'timed-out',
    `the command on '${machine}' did not end within ${formatDuration(timeoutMs / 1000)} and was given up: see whether the machine is overloaded, or allow more time`,
    { details: { machine, mayHaveRun: hadBegun } },
  );
}

export function interrupted(machine: string, hadBegun: boolean, cause?: unknown): PilotageError {
  return new PilotageError('interrupted', `the command on '${machine}' was called off before it ended`, {
    cause,
    details: { machine, mayHaveRun: hadBegun },
  });
}

export function closed(machine: string): PilotageError {
  return notStarted('interrupted', `the connection to '${machine}' is closed: nothing runs over it any more`, {
    machine,
  });
}

/** For a shell that went away under a script: taking its output or giving its input failed here, or it was not our doing. */
export function brokenOff(machine: string, { cause, hadBegun, noise }: Broken): unknown {
  return cause ?? connectionLost(machine, noise.trim().split('\n').at(-1) || 'it ended without a word', hadBegun);
}
