/**
 * A stand-in for the server that speaks the worker's side of the API over real HTTP and keeps everything in memory, so
 * that worker and claimant can be tested alone, and faults of the server be caused at will.
 */
import { createHash } from 'node:crypto';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { parsePack } from '../../src/ground/protocol/blob-pack.ts';
import type {
  Claim,
  ExchangeReply,
  ExchangeRequest,
  RegisterRequest,
  Report,
} from '../../src/ground/protocol/exchange.ts';
import type { TaskSpec } from '../../src/ground/protocol/spec.ts';
import type { HoldsRequest, SourceRequest } from '../../src/ground/protocol/zone.ts';
import { createTinyZone, type TinyZone } from './tiny-zone.ts';

export interface PoolTask {
  readonly claim: Claim;
  readonly spec: TaskSpec;
}

type Failure = { status: number; code: string } | 'cut' | 'lost';

export interface TinyPool {
  readonly url: string;
  readonly queue: PoolTask[];
  readonly running: Map<string, PoolTask>;
  readonly reports: Report[];
  readonly exchanges: ExchangeRequest[];
  readonly registrations: RegisterRequest[];
  readonly blobs: Map<string, Buffer>;
  readonly uploads: string[];
  /** Downloads: of what, from where on. */
  readonly downloads: { digest: string; start: number }[];
  /** Waited for before each piece of a download is sent: a slow server, or one that breaks off (by rejecting). */
  sending: (digest: string, offset: number) => Promise<void> | void;
  readonly zone: TinyZone;
  /** The server's clock. */
  clock: () => number;
  readonly left: string[];
  instruction: ExchangeReply['instruction'];
  followSeconds: number;
  heartbeatSeconds: number;
  /** How many claims are handed out at most, whatever is free. */
  most: number;
  /** Asked before each call is answered: `cut` breaks the connection, `lost` carries it out and then breaks it. */
  fail: (path: string, body: unknown) => Failure | undefined;
  submit(spec: TaskSpec, count?: number, payload?: (index: number) => unknown): string[];
  drop(task: string): void;
  /** Forgets all sessions, as a server would whose database was put back. */
  forgetSessions(): void;
  put(bytes: string | Buffer): string;
  nudge(): void;
  close(): Promise<void>;
}

const PIECE_BYTES = 64 * 1024;

export async function startTinyPool(host = '127.0.0.1'): Promise<TinyPool> {
  let submissions = 0;
  let sessionCount = 0;
  const sessions = new Map<string, { secret: string; number: number; dropped: Set<string>; given: Set<string> }>();
  let wakers = new Set<() => void>();
  const server = http.createServer((request, response) => void answer(request, response));

  const pool: TinyPool = {
    url: '',
    queue: [],
    running: new Map(),
    reports: [],
    exchanges: [],
    registrations: [],
    blobs: new Map(),
    uploads: [],
    downloads: [],
    sending: () => undefined,
    zone: createTinyZone(() => pool.clock()),
    clock: () => Date.now(),
    left: [],
    instruction: 'work',
    followSeconds: 0,
    heartbeatSeconds: 30,
    most: 1000,
    fail: () => undefined,
    submit: (spec, count = 1, payload = () => undefined) => {
      submissions += 1;
      const ids: string[] = [];
      for (let index = 1; index <= count; index += 1) {
        const task = `${submissions}.${index}`;
        ids.push(task);
        const value = payload(index);
        const claim = { task, attempt: 1, secret: `secret-of-${task}`, project: 'default' };
        pool.queue.push({ claim: value === undefined ? claim : { ...claim, payload: value }, spec });
      }
      pool.nudge();
      return ids;
    },
    drop: (task) => {
      for (const session of sessions.values()) session.dropped.add(task);
      pool.running.delete(task);
      pool.nudge();
    },
    forgetSessions: () => {
      sessions.clear();
      pool.nudge();
    },
    put: (bytes) => {
      const digest = createHash('sha256').update(bytes).digest('hex');
      pool.blobs.set(digest, Buffer.from(bytes));
      return digest;
    },
    nudge: () => {
      const all = wakers;
      wakers = new Set();
      for (const wake of all) wake();
    },
    close: async () => {
      pool.nudge();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };

  const answer = async (request: http.IncomingMessage, response: http.ServerResponse): Promise<void> => {
    const path = (request.url ?? '').replace('/api/v1', '');
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer);
    } catch {
      return;
    }
    const raw = Buffer.concat(chunks);
    const isJson = request.headers['content-type'] === 'application/json';
    const body: unknown = isJson ? JSON.parse(raw.toString()) : raw;
    const failure = pool.fail(path, body);
    if (failure === 'cut') {
      request.socket.destroy();
      return;
    }
    if (typeof failure === 'object') {
      refuse(response, failure.status, failure.code);
      return;
    }
    const reply = await route(request, path, body, response);
    if (failure === 'lost') request.socket.destroy();
    else if (reply !== undefined) send(response, reply);
  };

  const route = async (
    request: http.IncomingMessage,
    path: string,
    body: unknown,
    response: http.ServerResponse,
  ): Promise<unknown> => {
    if (path === '/workers') return register(body as RegisterRequest);
    if (path === '/ticket-keys') {
      pool.zone.keysAsked += 1;
      return { keys: pool.zone.keys };
    }
    const exchange = /^\/workers\/([^/]+)\/(exchange|leave|source|holds)$/.exec(path);
    if (exchange) return ofSession(request, { id: exchange[1] ?? '', what: exchange[2] ?? '', body, response });
    return blobRoute(request, path, body, response);
  };

  const register = (body: RegisterRequest): unknown => {
    pool.registrations.push(body);
    sessionCount += 1;
    const session = `s${sessionCount}`;
    pool.zone.join(session, body.share);
    sessions.set(session, { secret: `k${sessionCount}`, number: 0, dropped: new Set(), given: new Set() });
    return {
      worker: `w${sessionCount}`,
      session,
      secret: `k${sessionCount}`,
      heartbeatSeconds: pool.heartbeatSeconds,
      leaseSeconds: pool.heartbeatSeconds * 2,
      now: pool.clock(),
    };
  };

  const ofSession = async (
    request: http.IncomingMessage,
    call: { id: string; what: string; body: unknown; response: http.ServerResponse },
  ): Promise<unknown> => {
    const session = sessions.get(call.id);
    if (!session || request.headers['x-pilotage-session'] !== session.secret)
      return void refuse(call.response, 410, 'session-ended');
    if (call.what === 'leave') {
      pool.left.push(call.id);
      sessions.delete(call.id);
      return { changed: 0 };
    }
    if (call.what === 'source') {
      const wanted = call.body as SourceRequest;
      const size = pool.blobs.get(wanted.digest)?.length;
      if (size === undefined) return void refuse(call.response, 404, 'not-found');
      return pool.zone.source(call.id, wanted, size);
    }
    if (call.what === 'holds') {
      pool.zone.holds(call.id, call.body as HoldsRequest);
      call.response.writeHead(204).end();
      return undefined;
    }
    const body = call.body as ExchangeRequest;
    if (body.number <= session.number) return void refuse(call.response, 409, 'stale-exchange');
    session.number = body.number;
    pool.exchanges.push(body);
    pool.nudge();
    return exchange(session, body, request);
  };

  const exchange = async (
    session: { number: number; dropped: Set<string>; given: Set<string> },
    body: ExchangeRequest,
    request: http.IncomingMessage,
  ): Promise<unknown> => {
    const answers = body.reports.map(({ task, attempt }) => ({ task, attempt, answer: 'accepted' as const }));
    for (const report of body.reports) {
      pool.reports.push(report);
      pool.running.delete(report.task);
      session.given.delete(report.task);
    }
    const deadline = Date.now() + body.waitSeconds * 1000;
    for (;;) {
      const isCompared = body.compare || [...session.dropped].some((task) => session.given.has(task));
      const listHeld = body.held === undefined && isCompared === true;
      const held = new Set(body.held?.map((item) => item.task) ?? session.given);
      const drop = body.held?.filter((item) => session.dropped.has(item.task)) ?? [];
      const again = [...session.given].flatMap((task) =>
        held.has(task) || !pool.running.has(task) ? [] : [pool.running.get(task) as PoolTask],
      );
      const most = Math.max(0, Math.min(body.maxClaims, body.free.cpus + (body.ahead ?? 0) - again.length, pool.most));
      const superseded = session.number > body.number;
      const fresh = superseded || listHeld ? [] : pool.queue.splice(0, most);
      for (const task of fresh) {
        pool.running.set(task.claim.task, task);
        session.given.add(task.claim.task);
      }
      for (const { task } of drop) session.given.delete(task);
      const given = superseded ? [] : [...again, ...fresh];
      const news =
        listHeld ||
        answers.length + given.length + drop.length > 0 ||
        pool.instruction !== 'work' ||
        pool.followSeconds > 0;
      if (news || superseded || Date.now() >= deadline || request.socket.destroyed) {
        const specs = Object.fromEntries(given.map((task) => [task.claim.task.split('.')[0], task.spec]));
        return {
          answers,
          claims: given.map((task) => task.claim),
          specs,
          drop: drop.map(({ task, attempt }) => ({ task, attempt })),
          instruction: pool.instruction,
          ...(listHeld ? { listHeld } : {}),
          followSeconds: pool.followSeconds,
          heartbeatSeconds: pool.heartbeatSeconds,
          leaseSeconds: pool.heartbeatSeconds * 2,
        } satisfies ExchangeReply;
      }
      await Promise.race([
        new Promise<void>((resolve) => wakers.add(resolve)),
        wait(deadline - Date.now(), undefined, { ref: false }),
      ]);
    }
  };

  const blobRoute = (
    request: http.IncomingMessage,
    path: string,
    body: unknown,
    response: http.ServerResponse,
  ): unknown => {
    if (path.endsWith('/blobs/missing')) {
      const { digests } = body as { digests: string[] };
      return { missing: digests.filter((digest) => !pool.blobs.has(digest)) };
    }
    if (request.method === 'POST' && path.endsWith('/blobs')) {
      for (const { digest, bytes } of parsePack(body as Buffer)) {
        if (pool.put(bytes) !== digest) return void refuse(response, 400, 'digest-mismatch');
        pool.uploads.push(digest);
      }
      response.writeHead(204).end();
      return undefined;
    }
    if (/\/uploads\/[^/]+$/.test(path)) return { received: 0 };
    const digest = /\/blobs\/([0-9a-f]{64})(\?.*)?$/.exec(path)?.[1];
    if (!digest) return void refuse(response, 404, 'not-found');
    if (request.method === 'PUT') {
      const bytes = body as Buffer;
      if (pool.put(bytes) !== digest) return void refuse(response, 400, 'digest-mismatch');
      pool.uploads.push(digest);
      response.writeHead(204).end();
      return undefined;
    }
    const bytes = pool.blobs.get(digest);
    if (!bytes) return void refuse(response, 404, 'not-found');
    const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    pool.downloads.push({ digest, start });
    void sendBytes(response, bytes.subarray(start), (at) => pool.sending(digest, start + at));
    return undefined;
  };

  const sendBytes = async (
    response: http.ServerResponse,
    bytes: Buffer,
    before: (at: number) => Promise<void> | void,
  ): Promise<void> => {
    response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': bytes.length });
    const closed = new Promise<void>((resolve) => response.once('close', resolve));
    const drained = (): Promise<void> => new Promise((resolve) => response.once('drain', resolve));
    try {
      for (let at = 0; at < bytes.length && !response.destroyed; at += PIECE_BYTES) {
        await before(at);
        if (!response.write(bytes.subarray(at, at + PIECE_BYTES))) await Promise.race([drained(), closed]);
      }
      response.end();
    } catch {
      response.destroy();
    }
  };

  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  return Object.assign(pool, { url: `http://${host}:${(server.address() as AddressInfo).port}` });
}

function send(response: http.ServerResponse, value: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

function refuse(response: http.ServerResponse, status: number, code: string): void {
  const problem = { type: 'about:blank', title: code, status, code, detail: `refused: ${code}` };
  response.writeHead(status, { 'content-type': 'application/problem+json' }).end(JSON.stringify(problem));
}
