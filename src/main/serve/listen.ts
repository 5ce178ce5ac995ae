import type { FastifyInstance } from 'fastify';
import { PilotageError, systemCode } from '../../ground/base/errors.ts';
import { portHolder } from './port-holder.ts';
import type { ServerFiles } from './server-files.ts';

const DEFAULT_PORT = 9990;

/** What was asked for: port 0 leaves the choice to the server. */
export interface ListenWish {
  readonly host: string;
  readonly port: number | undefined;
}

export interface Address {
  readonly host: string;
  readonly port: number;
  /** The port that would have been taken if it had been free. */
  readonly insteadOf: number | null;
}

/**
 * The port of the first start is remembered and taken again, so that workers find the server after a restart. Only at
 * the very first start another one is taken when the usual one is not free.
 */
export async function listen(app: FastifyInstance, wish: ListenWish, files: ServerFiles): Promise<Address> {
  const kept = files.keptPort();
  const chosen = wish.port || kept;
  const port = chosen ?? (wish.port === 0 ? 0 : DEFAULT_PORT);
  try {
    await app.listen({ host: wish.host, port });
    return keep(app, wish.host, null, files);
  } catch (error) {
    if (systemCode(error) !== 'EADDRINUSE') throw toListenError(error, wish.host, port);
    if (chosen !== undefined) throw taken(port, wish.host, kept === port);
    await app.listen({ host: wish.host, port: 0 });
    return keep(app, wish.host, port, files);
  }
}

function keep(app: FastifyInstance, host: string, insteadOf: number | null, files: ServerFiles): Address {
  const address = app.server.address();
  if (address === null || typeof address === 'string') throw new Error('the server has no address');
  const kept = files.keptPort();
  if (kept !== undefined && kept !== address.port) files.keepEarlierPorts(earlierPorts(kept, address.port, files));
  files.keepPort(address.port);
  return { host, port: address.port, insteadOf };
}

const MOST_EARLIER = 4;

function earlierPorts(left: number, now: number, files: ServerFiles): number[] {
  return [...new Set([left, ...files.earlierPorts()])].filter((port) => port !== now).slice(0, MOST_EARLIER);
}

function taken(port: number, host: string, kept: boolean): PilotageError {
  const holder = portHolder(port);
  const why = kept ? ', which this server keeps since its first start because its workers know it,' : '';
  return new PilotageError(
    'already-exists',
    `port ${port}${why} is taken by ${holder}: end that program, or choose another port with --listen ${host}:PORT`,
  );
}

function toListenError(error: unknown, host: string, port: number): unknown {
  const code = systemCode(error);
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND')
    return new PilotageError(
      'bad-request',
      `this machine has no address '${host}' to listen on: give one of its own with --listen`,
      { cause: error },
    );
  if (code === 'EACCES')
    return new PilotageError(
      'bad-request',
      `this account may not listen on port ${port}: choose one above 1023 with --listen`,
      { cause: error },
    );
  return error;
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host === '[::1]' || /^127\./.test(host);
}
