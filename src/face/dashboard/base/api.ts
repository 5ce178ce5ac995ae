import type { BodyOf, ParamsOf, QueryOf, ReplyOf } from '../../../ground/protocol/route.ts';
import type { Routes } from '../../../ground/protocol/routes.ts';
import { ROOT } from './root.ts';
import { currentToken } from './session.ts';

/** The calls of the pages. The compiler holds their addresses equal to the table of routes, which stays out of the bundle. */
const PATHS = {
  projects: '/projects',
  services: '/projects/:project/services',
  serviceForm: '/projects/:project/services/:service/form',
  serviceQueue: '/projects/:project/services/:service/queue',
  createServiceJob: '/projects/:project/services/:service/jobs',
  link: '/links/:project/:number/:secret',
  linkResults: '/links/:project/:number/:secret/results',
  linkZip: '/links/:project/:number/:secret/results.zip',
  linkLog: '/links/:project/:number/:secret/logs/:task',
  cancelLink: '/links/:project/:number/:secret/cancel',
  login: '/login',
  logout: '/logout',
} as const satisfies { readonly [Name in keyof Routes]?: Routes[Name]['path'] };

type Call = keyof typeof PATHS;

/** The server said no. */
export class Refused extends Error {
  readonly status: number;
  readonly retryAfterSeconds: number | null;

  constructor(status: number, message: string, retryAfterSeconds: number | null = null) {
    super(message);
    this.name = 'Refused';
    this.status = status;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** Nobody answered, or what answered was not the server. */
export class NoAnswer extends Error {
  constructor(cause?: unknown) {
    super('no answer from the server', { cause });
    this.name = 'NoAnswer';
  }
}

export interface Ask<Name extends Call> {
  readonly params?: ParamsOf<Routes[Name]>;
  readonly query?: QueryOf<Routes[Name]>;
  readonly method?: 'GET' | 'POST';
  readonly body?: BodyOf<Routes[Name]>;
  readonly signal?: AbortSignal;
}

/** Rejects with `Refused` or `NoAnswer`. */
export async function ask<Name extends Call>(name: Name, input: Ask<Name> = {}): Promise<ReplyOf<Routes[Name]>> {
  const text = await askForText(name, input);
  return JSON.parse(text === '' ? 'null' : text);
}

const PATIENCE_MS = 30_000;

export async function askForText<Name extends Call>(name: Name, input: Ask<Name> = {}): Promise<string> {
  const signals = [AbortSignal.timeout(PATIENCE_MS), ...(input.signal ? [input.signal] : [])];
  const answer = await fetch(addressOf(name, input), {
    method: input.method ?? 'GET',
    headers: { ...headers(), ...(input.body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(input.body === undefined ? {} : { body: JSON.stringify(input.body) }),
    credentials: 'omit',
    cache: 'no-store',
    signal: AbortSignal.any(signals),
  }).catch((error: unknown) => {
    throw new NoAnswer(error);
  });
  const text = await answer.text().catch((error: unknown) => {
    throw new NoAnswer(error);
  });
  if (answer.ok) return text;
  throw toError(answer.status, text);
}

export function addressOf<Name extends Call>(
  name: Name,
  { params, query }: Pick<Ask<Name>, 'params' | 'query'>,
): string {
  const values = (params ?? {}) as Record<string, string>;
  const path = PATHS[name].replace(/:(\w+)/g, (_, key: string) => encodeURIComponent(values[key] ?? ''));
  const pairs = Object.entries((query ?? {}) as Record<string, unknown>).filter(([, value]) => value !== undefined);
  const search = new URLSearchParams(pairs.map(([key, value]): [string, string] => [key, String(value)])).toString();
  return `${ROOT}/api/v1${path}${search === '' ? '' : `?${search}`}`;
}

/** The last of them keeps the browser from asking for a name and a password by itself. */
export function headers(): Record<string, string> {
  const token = currentToken();
  return {
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    'x-requested-with': 'XMLHttpRequest',
  };
}

/** What the server said in its words. What is not in its words does not come from it: a proxy's page, say. */
export function toError(status: number, text: string): Refused | NoAnswer {
  try {
    const problem = JSON.parse(text) as { detail?: unknown; retryAfterSeconds?: unknown };
    if (typeof problem.detail !== 'string') return new NoAnswer();
    const seconds = problem.retryAfterSeconds;
    return new Refused(status, problem.detail, typeof seconds === 'number' ? seconds : null);
  } catch (error) {
    return new NoAnswer(error);
  }
}
