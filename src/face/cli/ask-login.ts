import type { AskPerson, CliContext, LoginQuestion } from './context.ts';

/** Puts what a login needs to the person at the terminal. Undefined when nobody is there. */
export function askLogin({ openTerminal }: Pick<CliContext, 'openTerminal'>): AskPerson | undefined {
  const terminal = openTerminal();
  if (!terminal) return undefined;
  return async (question, signal) => {
    const isHidden = question.kind !== 'host-key';
    const said = await terminal.ask({ text: textOf(question), isHidden, signal });
    return isHidden ? said : acceptedKey(question, said?.trim());
  };
}

/** Like ssh: `yes`, or the fingerprint, which has to be the right one. */
function acceptedKey({ fingerprint }: LoginQuestion, said: string | undefined): string | undefined {
  return said === 'yes' || said === fingerprint ? fingerprint : undefined;
}

function textOf({ user, machine, kind, prompt, wasRefused }: LoginQuestion): string {
  const who = user === undefined ? machine : `${user}@${machine}`;
  const again = wasRefused ? ' (what was given before was refused)' : '';
  return `login on ${who}${again}: ${kind === 'host-key' ? plainKey(prompt) : `${prompt.trim()} `}`;
}

function plainKey(prompt: string): string {
  return `${prompt.replace(/Are you sure you want to continue connecting.*/s, '').trim()}\nAccept it? Write 'yes' or the fingerprint: `;
}
