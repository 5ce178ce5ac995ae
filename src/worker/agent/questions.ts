import type { AskCredential, CredentialQuestion } from '../transport/ssh/credentials.ts';

/** Something that a login needs and nobody has given yet. */
export interface OpenQuestion extends CredentialQuestion {
  readonly id: string;
  /** What was given before was refused. */
  readonly wasRefused: boolean;
}

/** What logins ask for, and who answers: a terminal at once, or somebody at the agent's socket later. */
export interface Questions {
  readonly ask: AskCredential;
  open(): OpenQuestion[];
  /** For the next login, which is tried at once. False: nobody asked that. */
  answer(id: string, text: string): boolean;
  /** The person at the terminal is asked nothing more. */
  close(): void;
}

export interface QuestionsOptions {
  /** Asks a person who is there; `signal` comes when the answer is of no use any more. Undefined: nobody is. */
  readonly terminal?: (question: OpenQuestion, signal: AbortSignal) => Promise<string | undefined>;
  /** An answer has come: logins may be tried again. */
  readonly onAnswer: () => void;
  /** Somebody has to come. */
  readonly onOpen: (question: OpenQuestion) => void;
}

/** A question, the answer that the login has not taken yet, and who waits for one now. */
interface Entry {
  readonly question: OpenQuestion;
  answer?: string;
  /** The person at the terminal is being asked. */
  asking?: Promise<string | undefined>;
  take?: (text: string) => void;
}

/** Answers are kept in memory until the login takes them, and nowhere else. */
export function createQuestions({ terminal, onAnswer, onOpen }: QuestionsOptions): Questions {
  const open = new Map<string, Entry>();
  const closing = new AbortController();

  /** The terminal's answer, or the socket's if that comes first. */
  const askPerson = (entry: Entry, signal: AbortSignal): Promise<string | undefined> => {
    if (!terminal || entry.asking) return entry.asking ?? Promise.resolve(undefined);
    const isOver = new AbortController();
    const { promise, resolve } = Promise.withResolvers<string>();
    entry.take = resolve;
    entry.asking = Promise.race([
      promise,
      terminal(entry.question, AbortSignal.any([signal, isOver.signal, closing.signal])).catch(() => undefined),
    ]).finally(() => {
      delete entry.take;
      delete entry.asking;
      isOver.abort();
    });
    return entry.asking;
  };
  const ask = async (asked: CredentialQuestion, signal: AbortSignal): Promise<string | undefined> => {
    const id = idOf(asked);
    const known = open.get(id);
    const entry: Entry = known ?? { question: { ...asked, id, wasRefused: false } };
    open.set(id, entry);
    const said = entry.answer ?? (await askPerson(entry, signal));
    delete entry.answer;
    if (said === undefined) {
      if (!known) onOpen(entry.question);
      return undefined;
    }
    open.delete(id);
    return said;
  };
  /** It is open again at once, so that whoever answered sees that it was not taken. */
  const reopen = (asked: CredentialQuestion): void => {
    const id = idOf(asked);
    if (asked.kind === 'host-key' || open.has(id)) return;
    const entry: Entry = { question: { ...asked, id, wasRefused: true } };
    open.set(id, entry);
    void askPerson(entry, closing.signal).then((said) => {
      if (said !== undefined) answer(id, said);
      else if (!closing.signal.aborted) onOpen(entry.question);
    });
  };
  const answer = (id: string, text: string): boolean => {
    const entry = open.get(id);
    if (!entry) return false;
    if (entry.take) entry.take(text);
    else {
      entry.answer = text;
      onAnswer();
    }
    return true;
  };
  return {
    ask: Object.assign(ask, { refused: reopen }),
    open: () => [...open.values()].filter((one) => one.answer === undefined).map(({ question }) => question),
    answer,
    close: () => closing.abort(),
  };
}

function idOf({ user, machine, kind, prompt }: CredentialQuestion): string {
  return Buffer.from(JSON.stringify([user ?? '', machine, kind, prompt])).toString('base64url');
}
