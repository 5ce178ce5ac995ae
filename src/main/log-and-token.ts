import { readFileSync, statSync } from 'node:fs';
import pino from 'pino';
import { PilotageError } from '../ground/base/errors.ts';

const LEVELS = ['warn', 'info', 'debug'];

/** Lines of JSON on stderr. `verbosity` 0: warnings and errors, 1: what it does, 2: everything. */
export function logToStderr(verbosity: number): pino.Logger {
  const destination = pino.destination({ fd: 2, sync: true });
  // A terminal that was closed takes no more lines; that is no reason to end.
  destination.on('error', () => {});
  const level = LEVELS[verbosity] ?? 'debug';
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination);
}

/** Refuses a file that others can read. While the file is being replaced the last token serves. */
export function tokenReader(file: string): () => string {
  let last: string | undefined;
  const read = (): string => {
    const { mode } = statSync(file);
    if ((mode & 0o077) !== 0) {
      throw new PilotageError('forbidden', `the token file ${file} can be read by others: run 'chmod 600 ${file}'`);
    }
    return readFileSync(file, 'utf8').trim();
  };
  return () => {
    try {
      last = read();
    } catch (error) {
      if (last === undefined) throw error;
    }
    return last;
  };
}
