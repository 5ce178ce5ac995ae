/** How a script gets to a /bin/sh through any login shell, and its end back through whatever else is printed. */
import { randomBytes } from 'node:crypto';
import { PilotageError } from '../../ground/base/errors.ts';
import { quote } from './quote.ts';

/**
 * What the login shell is given: nothing that csh, tcsh, fish or a POSIX shell read differently (between single quotes
 * no quote, backslash or exclamation mark). The scripts come by standard input, each as one line; `read` takes no byte
 * beyond its line, so that what follows is the script's own input. The end of the input is the end of the shell.
 */
export const LOADER = 'while IFS= read -r s; do eval "$s"; done';
export const LOGIN_COMMAND = `exec /bin/sh -c '${LOADER}'`;

/** The script becomes one argument of a /bin/sh there; Linux takes 128 KiB (MAX_ARG_STRLEN). */
const MAX_SCRIPT_BYTES = 120 * 1024;

/** What the script's output begins and ends with: nothing else can print it. `end` is followed by the exit code and `;`. */
export interface Marks {
  readonly begin: string;
  readonly end: string;
}

export function newMarks(): Marks {
  const name = randomBytes(16).toString('hex');
  return { begin: `${name}-begin `, end: `${name}-end ` };
}

/**
 * The line that runs a script. After `begin` comes the process id of its shell, which leads a process group; the same
 * marks go to both streams. The exit code travels here, since ssh's own 255 looks like a script's.
 *
 * @param input `rest`: the script reads on from the connection. Bytes: it reads them, then the end.
 */
export function commandLine(script: string, marks: Marks, input: 'rest' | Uint8Array): string {
  if (Buffer.byteLength(script) > MAX_SCRIPT_BYTES) {
    throw new PilotageError(
      'bad-request',
      'the script is longer than 120 KiB: give what is long as its standard input',
    );
  }
  // The script's text is data to this shell: printf makes it out of characters that survive any line.
  const shell = `/bin/sh -c "$(printf %b ${quote(escaped(Buffer.from(quotable(script))))})"`;
  const run = input === 'rest' ? shell : fed(shell, input);
  const begin = `printf '%s%s;' '${marks.begin}' "$$"`;
  const end = `printf '%s%s;' '${marks.end}' "$c"`;
  return `${begin}; ${begin} >&2; ${run}; c=$?; ${end}; ${end} >&2\n`;
}

function fed(shell: string, input: Uint8Array): string {
  return input.length === 0 ? `${shell} </dev/null` : `printf %b ${quote(escaped(input))} | ${shell}`;
}

/** Refuses what no shell can hold. */
function quotable(script: string): string {
  quote(script);
  return script;
}

/** For `printf %b`: only letters, digits and what no shell, `read` or `printf` looks at stay as they are. */
function escaped(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) {
    const char = String.fromCharCode(byte);
    text += /[\w ./:=,;()[\]{}<>"$&|*?#@+~^-]/.test(char) ? char : `\\0${byte.toString(8).padStart(3, '0')}`;
  }
  return text;
}
