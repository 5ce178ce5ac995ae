/** The person at the terminal, asked past stdin and stdout, as ssh does it. */
import { openSync, readFileSync, writeSync } from 'node:fs';
import { StringDecoder } from 'node:string_decoder';
import tty from 'node:tty';
import { printable } from './table.ts';

export interface Terminal {
  /** One question after the other. Undefined: no answer, or it was of no use any more. */
  ask(question: TerminalQuestion): Promise<string | undefined>;
}

export interface TerminalQuestion {
  readonly text: string;
  /** Nothing of the answer is shown. */
  readonly isHidden: boolean;
  readonly signal: AbortSignal;
}

const DEVICE = '/dev/tty';

/** Undefined when nobody sits there. */
export function openTerminal(): Terminal | undefined {
  if (!mayAsk()) return undefined;
  let queue: Promise<unknown> = Promise.resolve();
  return {
    ask: (question) => {
      const answer = queue.then(() => askNow(question));
      queue = answer.catch(() => {});
      return answer;
    },
  };
}

/** A process in the background is stopped when it reads from the terminal: it must not try (proc_pid_stat(5)). */
function mayAsk(): boolean {
  if (process.platform !== 'linux') return process.stdin.isTTY === true;
  const text = readFileSync('/proc/self/stat', 'utf8');
  const [, , group, , terminal, foreground] = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return terminal !== '0' && group === foreground;
}

async function askNow({ text, isHidden, signal }: TerminalQuestion): Promise<string | undefined> {
  if (signal.aborted || !mayAsk()) return undefined;
  const device = openDevice();
  if (device === undefined) return undefined;
  const shown = text.split('\n').map(printable).join('\r\n');
  const input = new tty.ReadStream(device);
  input.setRawMode(true);
  writeSync(device, shown);
  try {
    return await readAnswer(input, signal, isHidden ? () => {} : (piece) => void writeSync(device, piece));
  } finally {
    writeSync(device, '\r\n');
    input.setRawMode(false);
    input.destroy();
  }
}

function openDevice(): number | undefined {
  try {
    return openSync(DEVICE, 'r+');
  } catch {
    return undefined;
  }
}

/** As the line discipline would. Who listens hears it before the question counts as unanswered: a signal comes later. */
function interrupt(input: tty.ReadStream): void {
  input.setRawMode(false);
  if (process.listenerCount('SIGINT') > 0) process.emit('SIGINT');
  else process.kill(process.pid, 'SIGINT');
}

const ERASE = ['\b', '\x7f'];
const LINE_ENDS = ['\r', '\n'];

/** The line discipline is off, so that nothing is shown: what it would do is done here. */
async function readAnswer(
  input: tty.ReadStream,
  signal: AbortSignal,
  echo: (piece: string) => void,
): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const decoder = new StringDecoder('utf8');
  let typed: string[] = [];
  const take = (char: string): void => {
    if (LINE_ENDS.includes(char)) resolve(typed.length > 0 ? typed.join('') : undefined);
    else if (char === '\x03') {
      interrupt(input);
      resolve(undefined);
    } else if (char === '\x04') resolve(undefined);
    else if (char === '\x15') {
      echo('\b \b'.repeat(typed.length));
      typed = [];
    } else if (ERASE.includes(char)) {
      if (typed.pop() !== undefined) echo('\b \b');
    } else if (char >= ' ') {
      typed.push(char);
      echo(char);
    }
  };
  const stop = (): void => resolve(undefined);
  signal.addEventListener('abort', stop);
  input.on('data', (bytes: Buffer) => [...decoder.write(bytes)].forEach(take));
  input.once('error', stop).once('end', stop);
  return promise.finally(() => signal.removeEventListener('abort', stop));
}
