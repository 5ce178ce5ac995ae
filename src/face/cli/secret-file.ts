import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { messageOf, PilotageError, systemCode } from '../../ground/base/errors.ts';

/** Reads a secret from a file that nobody but its owner can read; a looser one is refused with the way out. */
export function readSecretFile(file: string, what: string): string {
  return readOwnFile(file, what).trim();
}

/** A password may begin or end with a space; the end of its line is none of it. */
export function readPasswordFile(file: string): string {
  return readOwnFile(file, 'password').replace(/\r?\n$/, '');
}

function readOwnFile(file: string, what: string): string {
  let handle: number;
  try {
    handle = openSync(file, 'r');
  } catch (error) {
    throw new PilotageError('bad-request', unreadable(file, what, error), { cause: error });
  }
  try {
    const { mode } = fstatSync(handle);
    if ((mode & 0o077) !== 0) throw tooOpen(file, mode);
    return readFileSync(handle, 'utf8');
  } finally {
    closeSync(handle);
  }
}

function tooOpen(file: string, mode: number): PilotageError {
  const octal = (mode & 0o7777).toString(8).padStart(4, '0');
  return new PilotageError(
    'bad-request',
    `others on this machine can get at '${file}' (mode ${octal}), which holds a secret: run 'chmod 600 ${file}'`,
  );
}

function unreadable(file: string, what: string, error: unknown): string {
  return systemCode(error) === 'ENOENT'
    ? `the ${what} file '${file}' is not there`
    : `the ${what} file '${file}' cannot be read: ${messageOf(error)}`;
}
