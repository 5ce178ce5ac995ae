import { createInterface } from 'node:readline';
import { PilotageError } from '../../ground/base/errors.ts';
import type { CliContext } from './context.ts';
import { readPasswordFile } from './secret-file.ts';
import type { Terminal } from './terminal.ts';

/** Where passwords come from: a file, the terminal, or the lines of standard input. Never from the command line itself. */
export interface PasswordSource {
  /** One that is known already. `option` is the one that would name the file. */
  ask(what: string, file?: string, option?: string): Promise<string>;
  /** A new one: at the terminal it is typed twice. */
  askNew(what: string, file?: string): Promise<string>;
  close(): void;
}

const FILE_OPTION = '--password-file';

export function passwordSource(context: CliContext): PasswordSource {
  const { stdin } = context;
  const isPerson = 'isTTY' in stdin && stdin.isTTY === true;
  let lines: AsyncIterableIterator<string> | undefined;
  let reader: ReturnType<typeof createInterface> | undefined;
  const nextLine = async (what: string, option: string) => {
    reader ??= createInterface({ input: stdin });
    lines ??= reader[Symbol.asyncIterator]();
    const { value } = await lines.next();
    return given(value, what, option);
  };
  const ask = async (what: string, file?: string, option = FILE_OPTION) => {
    if (file !== undefined) return given(readPasswordFile(file), what, option);
    return isPerson ? atTerminal(context, what, option) : nextLine(what, option);
  };
  return {
    ask,
    async askNew(what, file) {
      const password = await ask(what, file);
      if (file === undefined && isPerson && (await atTerminal(context, `${what} once more`, FILE_OPTION)) !== password)
        throw new PilotageError('bad-request', 'the two were not the same: nothing was changed');
      return password;
    },
    close: () => reader?.close(),
  };
}

async function atTerminal(context: CliContext, what: string, option: string): Promise<string> {
  const terminal: Terminal | undefined = context.openTerminal();
  const text = `${what}: `;
  return given(await terminal?.ask({ text, isHidden: true, signal: new AbortController().signal }), what, option);
}

function given(password: string | undefined, what: string, option: string): string {
  if (password !== undefined && password !== '') return password;
  throw new PilotageError(
    'bad-request',
    `no ${what} was given: type it at the terminal, give a file of mode 0600 with ${option}, or send it to standard input`,
  );
}
