import type { Readable } from 'node:stream';
import { isErrorCode, messageOf, PilotageError } from '../base/errors.ts';
import type { Problem } from '../protocol/problem.ts';
import { API, type BodyOf, type ParamsOf, type QueryOf, type ReplyOf, type Route } from '../protocol/route.ts';
import { ServerUnreachable, type Transport, type WireRequest, type WireResponse } from './transport.ts';

/** What a call carries. `raw` sends bytes in place of a JSON body. */
export interface CallInput<R> {
  readonly params?: ParamsOf<R>;
  readonly query?: QueryOf<R>;
  readonly body?: BodyOf<R>;
  readonly raw?: Readable | Buffer;
  /** The pieces of `raw` belong to nobody else: their memory may be given back once they are sent. */
  readonly rawIsGivenAway?: boolean;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  /** 60 s unless said otherwise. */
  readonly timeoutSeconds?: number;
}

/**
 * The server as a program sees it. A call resolves with the answer, rejects with `PilotageError` when the server
 * refused (its `code` says why), and with `ServerUnreachable` when no answer came.
 */
export interface Client {
  call<R extends Route>(route: R, input?: CallInput<R>): Promise<ReplyOf<R>>;
  /** For answers that are bytes. The caller reads the stream to its end or destroys it. */
  stream<R extends Route>(route: R, input?: CallInput<R>): Promise<Readable>;
  close(): void;
}

/** `token` is asked for at each call, so that a token file that is replaced is noticed. */
export function createClient(transport: Transport, token: () => string | undefined): Client {
  const send = async <R extends Route>(route: R, input: CallInput<R>): Promise<WireResponse> => {
    const response = await transport.send({
      method: route.method,
      path: API + pathOf(route.path, input.params, input.query),
      headers: headersOf(token(), input),
      timeoutSeconds: input.timeoutSeconds ?? 60,
      ...bodyOf(input),
      ...(input.signal ? { signal: input.signal } : {}),
    });
    if (response.status >= 400) throw await toError(response);
    return response;
  };
  return {
    call: async (route, input = {}) => {
      const text = await readText((await send(route, input)).body, input.timeoutSeconds ?? 60);
      return text === '' ? undefined : JSON.parse(text);
    },
    stream: async (route, input = {}) => (await send(route, input)).body,
    close: () => transport.close(),
  };
}

function bodyOf(input: CallInput<unknown>): Pick<WireRequest, 'body' | 'bodyIsGivenAway'> {
  if (input.raw) return { body: input.raw, bodyIsGivenAway: input.rawIsGivenAway === true };
  return input.body === undefined ? {} : { body: JSON.stringify(input.body) };
}

function headersOf(token: string | undefined, input: CallInput<unknown>): Record<string, string> {
  return {
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    ...(input.raw ? { 'content-type': 'application/octet-stream' } : {}),
    ...(input.body === undefined ? {} : { 'content-type': 'application/json' }),
    ...input.headers,
  };
}

function pathOf(template: string, params: unknown, query: unknown): string {
  const values = (params ?? {}) as Record<string, unknown>;
  const path = template.replace(/:(\w+)/g, (_, name: string) => encodeURIComponent(String(values[name])));
  const pairs = Object.entries((query ?? {}) as Record<string, unknown>).filter(([, value]) => value !== undefined);
  if (pairs.length === 0) return path;
  return `${path}?${new URLSearchParams(pairs.map(([key, value]): [string, string] => [key, String(value)])).toString()}`;
}

/** An answer that breaks off or stalls in the middle is no answer. */
async function readText(body: Readable, timeoutSeconds: number): Promise<string> {
  const timer = setTimeout(
    () => body.destroy(new Error(`the answer stalled for ${timeoutSeconds} s`)),
    timeoutSeconds * 1000,
  );
  try {
    const chunks: Buffer[] = [];
    for await (const chunk of body) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks).toString('utf8');
  } catch (error) {
    throw new ServerUnreachable('the server', error);
  } finally {
    clearTimeout(timer);
  }
}

async function toError(response: WireResponse): Promise<PilotageError | ServerUnreachable> {
  const text = await readText(response.body, 60);
  try {
    const problem = JSON.parse(text) as Problem;
    const code = isErrorCode(problem.code) ? problem.code : 'internal';
    return new PilotageError(code, problem.detail, {
      details: { status: response.status, retryAfterSeconds: problem.retryAfterSeconds },
    });
  } catch (error) {
    return new ServerUnreachable(
      `the address given`,
      new Error(`HTTP ${response.status} that is not Pilotage's (${messageOf(error)})`),
    );
  }
}
