import { isUtf8 } from 'node:buffer';
import { PilotageError } from '../base/errors.ts';

/** The text of a name as the file system gives it. Refuses one that is no UTF-8: it could not be told apart, nor made again, elsewhere. */
export function textOfName(name: Buffer, directory: string): string {
  if (isUtf8(name)) return name.toString('utf8');
  throw notUtf8(`${directory}/${escapeBytes(name)}`);
}

export function notUtf8(shown: string): PilotageError {
  return new PilotageError(
    'bad-request',
    `the name of '${shown}' is not UTF-8 and cannot be kept: rename it ('convmv -f latin1 -t utf8' renames many), or leave it out`,
  );
}

/** Bytes that are not printable ASCII as `\xe9`. */
export function escapeBytes(name: Buffer): string {
  return [...name]
    .map((byte) =>
      byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`,
    )
    .join('');
}
