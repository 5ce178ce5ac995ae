import { accessSync, constants, readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { messageOf, PilotageError, systemCode } from '../../ground/base/errors.ts';
import { type Client, createClient } from '../../ground/client/client.ts';
import { httpTransport } from '../../ground/client/http-transport.ts';
import { ServerUnreachable, type Transport } from '../../ground/client/transport.ts';
import type { ServerFile } from '../../ground/protocol/server-file.ts';
import type { CliContext } from './context.ts';
import { defined } from './defined.ts';
import { readSecretFile } from './secret-file.ts';
import { findSession } from './session-file.ts';

/** How a person named the server, by flags. */
export interface ServerChoice {
  readonly server?: string;
  readonly tokenFile?: string;
  readonly fingerprint?: string;
  readonly data?: string;
}

export interface ServerAddress {
  readonly url: string;
  readonly tokenFile: string;
  readonly fingerprint?: string;
  /** Where the address came from when nobody named it: then it may be that of a server that is gone. */
  readonly file?: { readonly path: string; readonly pid: number };
}

type Env = CliContext['env'];

/** The server that was found has ended. Also thrown when there is no trace of one. */
export class ServerNotRunning extends ServerUnreachable {
  constructor(message: string, cause?: unknown) {
    super('the server', cause);
    this.name = 'ServerNotRunning';
    this.message = message;
  }
}

export function defaultDataDirectory(env: Env): string {
  return path.join(env.HOME ?? os.homedir(), '.local', 'share', 'pilotage');
}

/** A server that was named or found; by what one is known there may be open still. */
export interface ServerPlace {
  readonly url: string;
  readonly fingerprint?: string;
  readonly file?: { readonly path: string; readonly pid: number };
  /** The token file that was named. */
  readonly tokenFile?: string;
  /** Its data directory, if it is one of this machine. */
  readonly data?: string;
}

/**
 * `--server`, else `--data`, else PILOTAGE_SERVER, else PILOTAGE_DATA, else what is configured, else the user's own
 * running server.
 */
export function findServer(choice: ServerChoice, env: Env, configured: ServerChoice = {}): ServerPlace {
  if (choice.server !== undefined) return named(choice.server, choice, env);
  if (choice.data !== undefined) return running(choice.data, choice);
  const fromEnv = defined({ tokenFile: env.PILOTAGE_TOKEN_FILE, fingerprint: env.PILOTAGE_FINGERPRINT });
  if (env.PILOTAGE_SERVER) return named(env.PILOTAGE_SERVER, choice, env);
  if (env.PILOTAGE_DATA) return running(env.PILOTAGE_DATA, { ...fromEnv, ...choice });
  const all = { ...configured, ...fromEnv, ...choice };
  if (configured.server !== undefined) return named(configured.server, all, {});
  return running(configured.data ?? defaultDataDirectory(env), all);
}

/** The server as `findServer` finds it, with the token file that was named, else a login there, else the administrator's token. */
export function resolveServer(choice: ServerChoice, env: Env, configured: ServerChoice = {}): ServerAddress {
  const { data, tokenFile, ...place } = findServer(choice, env, configured);
  const found = tokenFile ?? findSession(env, place.url) ?? (data && adminTokenFile(data));
  if (!found) {
    throw new PilotageError(
      'bad-request',
      `which token for ${place.url}? Log in with 'pilotage login', or give --token-file FILE or set PILOTAGE_TOKEN_FILE; 'pilotage token create' on the server makes one`,
    );
  }
  return { ...place, tokenFile: found };
}

/** Only whoever started the server can read it: everybody else logs in. */
function adminTokenFile(data: string): string {
  const file = path.join(data, 'admin-token');
  try {
    accessSync(file, constants.R_OK);
  } catch (error) {
    if (systemCode(error) === 'EACCES')
      throw new PilotageError(
        'bad-request',
        `the server of '${data}' is run by somebody else: log in with 'pilotage login'`,
      );
  }
  return file;
}

/** A client that comes without a token, to get one. */
export function connectUnknown(place: ServerPlace, context: CliContext): Client {
  return createClient(transportTo(place, context), () => undefined);
}

/** A client of the server that was named. The token is read again at each call: its file may be replaced. */
export function connect(address: ServerAddress, context: CliContext): Client {
  return createClient(transportTo(address, context), () => readSecretFile(address.tokenFile, 'token'));
}

function transportTo(place: Pick<ServerPlace, 'url' | 'fingerprint' | 'file'>, context: CliContext): Transport {
  const target = { url: place.url, ...defined({ fingerprint: place.fingerprint }) };
  return explaining((context.transport ?? httpTransport)(target), place);
}

function named(server: string, choice: ServerChoice, env: Env): ServerPlace {
  const tokenFile = choice.tokenFile ?? env.PILOTAGE_TOKEN_FILE;
  const fingerprint = choice.fingerprint ?? env.PILOTAGE_FINGERPRINT;
  return {
    url: checkedUrl(server),
    ...(tokenFile ? { tokenFile } : {}),
    ...(fingerprint ? { fingerprint } : {}),
    ...(choice.data ? { data: choice.data } : {}),
  };
}

function checkedUrl(server: string): string {
  const url = URL.canParse(server) ? new URL(server) : undefined;
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:') {
    throw new PilotageError('bad-request', `'${server}' is not the address of a server: write 'https://HOST:PORT'`);
  }
  if (url.password !== '' || url.username !== '') {
    throw new PilotageError('bad-request', 'the address of a server holds no password: tokens come from --token-file');
  }
  return url.origin;
}

function running(data: string, choice: ServerChoice): ServerPlace {
  const file = path.join(data, 'server.json');
  const found = readServerFile(file, data);
  const fingerprint = choice.fingerprint ?? found.fingerprint ?? undefined;
  return {
    url: found.url,
    data,
    ...(choice.tokenFile === undefined ? {} : { tokenFile: choice.tokenFile }),
    ...(fingerprint === undefined ? {} : { fingerprint }),
    file: { path: file, pid: found.pid },
  };
}

function readServerFile(file: string, data: string): ServerFile {
  try {
    const found = JSON.parse(readFileSync(file, 'utf8')) as ServerFile;
    if (typeof found?.url !== 'string' || !URL.canParse(found.url)) throw new Error('it names no address');
    return found;
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') {
      throw new PilotageError('bad-request', `'${file}' cannot be used: ${messageOf(error)}`, { cause: error });
    }
    throw new ServerNotRunning(
      `no server is running in '${data}': start one with 'pilotage serve', or name one with --server URL`,
      error,
    );
  }
}

/**
 * When nothing answers at the address that a server left behind, the reason may be simple. Not so once it has answered:
 * then it may be on its way back.
 */
function explaining(transport: Transport, { file }: Pick<ServerPlace, 'file'>): Transport {
  if (!file) return transport;
  let met = false;
  return {
    close: () => transport.close(),
    send: async (request) => {
      try {
        const response = await transport.send(request);
        met = true;
        return response;
      } catch (error) {
        if (met || !(error instanceof ServerUnreachable) || isAlive(file.pid)) throw error;
        throw new ServerNotRunning(
          `the server of '${path.dirname(file.path)}' is not running (its process ${file.pid} is gone): start it with 'pilotage serve'`,
          error,
        );
      }
    },
  };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemCode(error) === 'EPERM';
  }
}
