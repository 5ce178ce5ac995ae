/**
 * Makes a connection, with what ssh asks on the way:
 *
 *   dialling ──ready──▶ connected
 *      │ ▲ unreachable: again, `tries` times
 *      ▼ │
 *    failed ──login refused, host key, nobody answered──▶ rejected at once
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { PilotageError } from '../../../ground/base/errors.ts';
import { interrupted, notStarted } from '../failures.ts';
import { type Asked, type Askpass, startAskpass } from './askpass.ts';
import { type AskCredential, type CredentialQuestion, hostKeyIn, kindOf } from './credentials.ts';
import { explainFailure } from './explain-failure.ts';

/** One try: an ssh that is on its way. */
export interface Attempt {
  /** Resolves when the connection can be used. */
  readonly ready: Promise<void>;
  readonly gone: Promise<void>;
  said(): string;
  kill(): void;
}

export interface DialOptions {
  readonly machine: string;
  readonly user?: string;
  readonly timeoutMs: number;
  readonly tries: number;
  readonly ask: AskCredential;
  /** Fingerprints (`SHA256:…`) of host keys that are accepted when they are not known yet. */
  readonly acceptHostKeys?: readonly string[];
}

export interface Dialer {
  /** One at a time: two logins at once would ask two questions at once. */
  dial<T extends Attempt>(start: (askpass: string) => T): Promise<T>;
  close(): void;
}

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 8000;

/** What was asked and answered during one attempt, and why it was given up, if it was. */
interface Talk {
  readonly answered: CredentialQuestion[];
  /** Questions that a person is thinking about: the time does not count. */
  open: number;
  /** All questions that were put to somebody. */
  put: number;
  readonly over: AbortController;
  givenUp: PilotageError | undefined;
  stop(why: PilotageError): void;
}

export function openDialer(files: string, options: DialOptions): Dialer {
  const { machine, tries } = options;
  const stopped = new AbortController();
  let askpass: Promise<Askpass> | undefined;
  let talk: Talk | undefined;
  let queue: Promise<unknown> = Promise.resolve();

  const answer = async (asked: Asked): Promise<string | undefined> => {
    const current = talk;
    if (!current || asked.isNotice) return undefined;
    current.open += 1;
    try {
      return await converse(options, current, asked.prompt);
    } finally {
      current.open -= 1;
    }
  };
  const askable = async (): Promise<Askpass> => {
    const known = await askpass?.catch(() => undefined);
    if (known?.isWhole()) return known;
    known?.close();
    askpass = startAskpass(files, answer);
    return askpass;
  };
  const tryOnce = async <T extends Attempt>(start: (askpass: string) => T): Promise<T> => {
    const { program } = await askable();
    const attempt = start(program);
    const { promise: givenUp, resolve } = Promise.withResolvers<void>();
    const own: Talk = {
      answered: [],
      open: 0,
      put: 0,
      over: new AbortController(),
      givenUp: undefined,
      stop: (why) => {
        own.givenUp ??= why;
        resolve();
      },
    };
    talk = own;
    const stop = (): void => own.stop(interrupted(machine, false));
    stopped.signal.addEventListener('abort', stop);
    const clock = limitTime(own, options);
    try {
      const isReady = await Promise.race([attempt.ready.then(() => true), attempt.gone, givenUp]);
      if (isReady === true && !stopped.signal.aborted) return attempt;
      attempt.kill();
      if (!own.givenUp) await attempt.gone;
      throw failureOf(own, attempt, machine);
    } catch (error) {
      for (const question of own.answered) if (isRefusal(error)) options.ask.refused?.(question);
      throw error;
    } finally {
      clearInterval(clock);
      stopped.signal.removeEventListener('abort', stop);
      talk = undefined;
      own.over.abort();
    }
  };
  const tryAll = async <T extends Attempt>(start: (askpass: string) => T): Promise<T> => {
    for (let tried = 1; ; tried += 1) {
      if (stopped.signal.aborted) throw interrupted(machine, false);
      try {
        return await tryOnce(start);
      } catch (error) {
        if (tried >= tries || !mayWorkLater(error)) throw error;
      }
      const pause = Math.min(FIRST_PAUSE_MS * 2 ** (tried - 1), LONGEST_PAUSE_MS);
      await sleep(pause, undefined, { signal: stopped.signal }).catch(() => {});
    }
  };
  return {
    dial: (start) => {
      const dialled = queue.then(() => tryAll(start));
      queue = dialled.catch(() => {});
      return dialled;
    },
    close: () => {
      stopped.abort();
      void askpass?.then(({ close }) => close()).catch(() => {});
    },
  };
}

/** Answers one of ssh's questions, or gives the attempt up: an empty answer would count as a wrong one there. */
async function converse(options: DialOptions, talk: Talk, prompt: string): Promise<string | undefined> {
  const question = toQuestion(options, prompt);
  const { fingerprint } = question;
  if (fingerprint !== undefined && options.acceptHostKeys?.includes(fingerprint)) return fingerprint;
  try {
    talk.put += 1;
    const given = await options.ask(question, talk.over.signal);
    if (question.kind === 'host-key') {
      if (fingerprint !== undefined && given === fingerprint) return fingerprint;
      talk.stop(unknownKey(options.machine, prompt));
      return 'no';
    }
    if (given !== undefined && !/[\r\n\0]/.test(given)) {
      talk.answered.push(question);
      return given;
    }
    talk.stop(unanswered(question));
  } catch (error) {
    talk.stop(unanswered(question, error));
  }
  return undefined;
}

function toQuestion({ machine, user }: DialOptions, prompt: string): CredentialQuestion {
  const kind = kindOf(prompt);
  const fingerprint = kind === 'host-key' ? hostKeyIn(prompt).fingerprint : undefined;
  return {
    machine,
    kind,
    prompt,
    ...(user === undefined ? {} : { user }),
    ...(fingerprint === undefined ? {} : { fingerprint }),
  };
}

function unknownKey(machine: string, prompt: string): PilotageError {
  const { fingerprint, type, host = machine } = hostKeyIn(prompt);
  return notStarted(
    'host-key-unknown',
    `the host key of '${host}' is not known (${type ?? 'a'} key, fingerprint ${fingerprint ?? 'not told'}): nothing was sent. Compare it with what the machine's administrators say, then accept it by naming this fingerprint`,
    { machine, host, ...(fingerprint ? { fingerprint } : {}), ...(type ? { keyType: type } : {}) },
  );
}

function unanswered({ machine, kind, prompt }: CredentialQuestion, cause?: unknown): PilotageError {
  return new PilotageError(
    'credential-missing',
    `the login on '${machine}' needs a ${kind === 'other' ? 'answer' : kind} ("${prompt.trim()}"), and nobody gave it: the login was not tried`,
    { cause, details: { machine, kind, prompt, mayHaveRun: false } },
  );
}

function failureOf(talk: Talk, attempt: Attempt, machine: string): PilotageError {
  return (
    talk.givenUp ?? explainFailure({ machine, said: attempt.said(), answered: talk.answered, wasAsked: talk.put > 0 })
  );
}

/** ssh has limits of its own for the network's part. This one is for a server that stays silent during the login. */
function limitTime(talk: Talk, { machine, timeoutMs }: DialOptions): NodeJS.Timeout {
  const limit = 2 * timeoutMs + 1000;
  let since = performance.now();
  return setInterval(() => {
    if (talk.open > 0) since = performance.now();
    if (performance.now() - since <= limit) return;
    const message = `'${machine}' is not reached: it does not answer in time. Is it on, or overloaded?`;
    talk.stop(notStarted('unreachable', message, { machine, why: 'timed-out', asked: talk.put > 0 }));
  }, 200);
}

function isRefusal(error: unknown): boolean {
  return error instanceof PilotageError && error.code === 'login-refused';
}

/** Only what ended before anybody was asked: a second try would spend a code, or count as another wrong password. */
function mayWorkLater(error: unknown): boolean {
  if (!(error instanceof PilotageError) || error.code !== 'unreachable') return false;
  return error.details.why !== 'no-ssh' && error.details.asked !== true;
}
