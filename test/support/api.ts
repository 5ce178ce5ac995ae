import { readFileSync } from 'node:fs';
import path from 'node:path';
import { type Client, createClient } from '../../src/ground/client/client.ts';
import { httpTransport } from '../../src/ground/client/http-transport.ts';
import type { ExchangeReply, RegisterReply, Report } from '../../src/ground/protocol/exchange.ts';
import { PROTOCOL_VERSION } from '../../src/ground/protocol/limits.ts';
import { routes } from '../../src/ground/protocol/routes.ts';

interface HasServer {
  readonly data: string;
  url(): string;
}

export function adminToken(server: HasServer): string {
  return readFileSync(path.join(server.data, 'admin-token'), 'utf8').trim();
}

/** A client of a server, as its administrator unless another token is given. */
export function clientOf(server: HasServer, token: string = adminToken(server)): Client {
  return createClient(httpTransport({ url: server.url() }), () => token);
}

/** What the server answers when it is asked with no library in between. */
export async function raw(
  server: HasServer,
  request: string,
  options: { token?: string; body?: string; headers?: Record<string, string> } = {},
) {
  const [method = 'GET', where = '/'] = request.split(' ');
  const headers = {
    ...(options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }),
    ...(options.body === undefined ? {} : { 'content-type': 'application/json' }),
    ...options.headers,
  };
  const answer = await fetch(server.url() + where, {
    method,
    headers,
    ...(options.body === undefined ? {} : { body: options.body }),
  });
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, text, json: () => JSON.parse(text) };
}

/** A worker made of bare calls: it does just what a test says. */
export interface HandWorker {
  readonly session: RegisterReply;
  exchange(over?: {
    reports?: Report[];
    held?: { task: string; attempt: number }[];
    most?: number;
    waitSeconds?: number;
    number?: number;
    cpus?: number;
  }): Promise<ExchangeReply>;
}

export async function handWorker(client: Client, name = 'hand', cpus = 4): Promise<HandWorker> {
  const total = { cpus, memory: 2 ** 34, gpus: 0, named: {} };
  const body = {
    protocol: PROTOCOL_VERSION,
    version: 'test',
    name,
    host: 'test',
    pid: 1,
    zone: null,
    total,
    labels: {},
    kinds: ['command' as const, 'payload' as const],
    remainingSeconds: null,
  };
  const session = await client.call(routes.register, { body });
  let number = 0;
  return {
    session,
    exchange: async (over = {}) => {
      number = over.number ?? number + 1;
      return client.call(routes.exchange, {
        params: { session: session.session },
        headers: { 'x-pilotage-session': session.secret },
        body: {
          number,
          held: over.held ?? [],
          reports: over.reports ?? [],
          free: { ...total, cpus: over.cpus ?? cpus },
          maxClaims: over.most ?? 100,
          waitSeconds: over.waitSeconds ?? 0,
        },
      });
    },
  };
}

export function succeeded(claim: { task: string; attempt: number; secret: string }): Report {
  return { task: claim.task, attempt: claim.attempt, secret: claim.secret, outcome: 'succeeded', exitCode: 0 };
}
