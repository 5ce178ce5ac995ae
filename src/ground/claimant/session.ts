import { messageOf, PilotageError } from '../base/errors.ts';
import type { Client } from '../client/client.ts';
import type { RegisterReply, RegisterRequest } from '../protocol/exchange.ts';
import { workerCalls } from '../protocol/worker-calls.ts';
import { createBackoff } from './backoff.ts';
import type { Log } from './executor.ts';

export type Session = RegisterReply;
/** A session as the next worker of the same work directory finds it. */
export type OldSession = { readonly session: string; readonly secret: string };

/** The header that carries the session's secret: workers that share a token cannot act for each other. */
export const SESSION_HEADER = 'x-pilotage-session';

export const QUIET: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const INCOMPATIBLE_RETRY_MS = 60_000;
const UNWELCOME_RETRY_MS = 10_000;

export interface Registration {
  readonly client: Client;
  readonly log: Log;
  /** Asked anew for each try: what is held and how much wall time remains changes. */
  readonly request: () => RegisterRequest;
  readonly signal: AbortSignal;
}

/** Resolves with a session, however long it takes; undefined when the signal ended the waiting. */
export async function registerUntilWelcome(registration: Registration): Promise<Session | undefined> {
  const { client, log, request, signal } = registration;
  const backoff = createBackoff(200, 5000);
  let last: string | undefined;
  while (!signal.aborted) {
    try {
      return await client.call(workerCalls.register, { body: request(), timeoutSeconds: 30, signal });
    } catch (error) {
      if (signal.aborted) break;
      const repeated = last === messageOf(error);
      last = messageOf(error);
      await sleep(explainFailure(error, repeated ? QUIET : log) ?? backoff.next(), signal);
    }
  }
  return undefined;
}

/** Logs what is wrong and what helps. Returns after how long to try again, undefined when the server may be back any moment. */
export function explainFailure(error: unknown, log: Log): number | undefined {
  const facts = { error: messageOf(error) };
  const code = error instanceof PilotageError ? error.code : undefined;
  if (code === 'incompatible-version') {
    log.error(
      facts,
      'this worker and the server do not understand each other: install the same version; idle until then',
    );
    return INCOMPATIBLE_RETRY_MS;
  }
  if (code === 'unauthenticated' || code === 'forbidden') {
    log.error(
      facts,
      'the server refuses the token: put a valid one with the scope "work" into the token file; programs go on, trying again every 10 s',
    );
    return UNWELCOME_RETRY_MS;
  }
  log.warn(facts, 'no exchange with the server, trying again; programs go on');
  return undefined;
}

/** Resolves after the time or when the signal comes, whichever is first. */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  const stop = (): void => {
    clearTimeout(timer);
    resolve();
  };
  signal.addEventListener('abort', stop, { once: true });
  return promise.finally(() => signal.removeEventListener('abort', stop));
}
