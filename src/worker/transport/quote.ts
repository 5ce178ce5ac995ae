import { PilotageError } from '../../ground/base/errors.ts';

/** Any text as one word of a POSIX shell. Whatever enters a script goes through here; nothing of it is ever run. */
export function quote(text: string): string {
  if (text.includes('\0')) {
    throw new PilotageError(
      'bad-request',
      `${JSON.stringify(text)} holds a zero byte: no program or file can have that`,
    );
  }
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
