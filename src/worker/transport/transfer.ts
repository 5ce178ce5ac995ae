/** What sending and fetching a file have in common. */
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { type ErrorCode, PilotageError } from '../../ground/base/errors.ts';
import { notStarted } from './failures.ts';
import type { Ended } from './shell.ts';

export interface Transfer {
  readonly local: string;
  readonly remote: string;
  readonly mode?: number;
  readonly signal?: AbortSignal;
}

/** Exit codes of our scripts. */
export const EXIT = { wrongSize: 90, wrongDigest: 91, isDirectory: 92, failed: 93, missing: 94 } as const;
export const BLOCK = 64 * 1024;
/** What programs there say is read here. */
export const ENGLISH = 'LC_ALL=C; export LC_ALL';

/**
 * A shell function that prints the SHA-256 of its input, or nothing: GNU has sha256sum, BSD and macOS shasum, and nearly
 * all have openssl, which prints the digest last.
 */
export const DIGEST = `digest() {
if command -v sha256sum >/dev/null 2>&1; then sha256sum | cut -c 1-64
elif command -v shasum >/dev/null 2>&1; then shasum -a 256 | cut -c 1-64
elif command -v openssl >/dev/null 2>&1; then openssl dgst -sha256 | sed 's/.* //'
fi; }`;

/** Beside the file that it becomes, so that the rename stays within one file system. */
export function temporaryName(directory: string): string {
  return path.posix.join(directory, `.pilotage-${randomBytes(8).toString('hex')}.part`);
}

/** A transfer may go on after this: the connection failed, not the file. */
export function isBrokenOff(error: unknown): boolean {
  return error instanceof PilotageError && error.code === 'connection-lost';
}

/** Why our script gave up, in the words of the machine's own programs. */
export function explainExit({ exitCode, stderr }: Ended, what: string): PilotageError {
  const said = stderr.text().trim().slice(-500);
  return notStarted(codeOf(exitCode, said), `${what}: ${reasonOf(exitCode, said)}`);
}

function codeOf(exitCode: number, said: string): ErrorCode {
  if (exitCode === EXIT.wrongDigest) return 'digest-mismatch';
  if (exitCode === EXIT.isDirectory) return 'wrong-state';
  if (exitCode === EXIT.missing || /No such file/i.test(said)) return 'not-found';
  if (/No space left|quota exceeded/i.test(said)) return 'storage-full';
  if (/Permission denied|Read-only file system|Operation not permitted/i.test(said)) return 'forbidden';
  return 'transfer-failed';
}

function reasonOf(exitCode: number, said: string): string {
  if (exitCode === EXIT.wrongDigest) return 'what arrived is not what was sent (its SHA-256 differs): try again';
  if (exitCode === EXIT.wrongSize) return `not all of it arrived${said ? ` (${said})` : ''}: try again`;
  if (exitCode === EXIT.isDirectory) return 'a directory has that name: give the file another one';
  if (exitCode === EXIT.missing) return 'there is no such file';
  return said || `its shell ended with ${exitCode}`;
}
