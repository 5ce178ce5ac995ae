import { readFileSync } from 'node:fs';
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

/**
 * `--server`, else `--data`, else PILOTAGE_SERVER, else PILOTAGE_DATA, else what is configured, else the user's own
 * running server.
 */
export function resolveServer(choice: ServerChoice, env: Env, configured: ServerChoice = {}): ServerAddress {
  if (choice.server !== undefined) return named(choice.server, choice, env);
  if (choice.data !== undefined) return running(choice.data, choice);
  const fromEnv = defined({ tokenFile: env.PILOTAGE_TOKEN_FILE, fingerprint: env.PILOTAGE_FINGERPRINT });
  if (env.PILOTAGE_SERVER) return named(env.PILOTAGE_SERVER, choice, env);
  if (env.PILOTAGE_DATA) return running(env.PILOTAGE_DATA, { ...fromEnv, ...choice });
  const all = { ...configured, ...fromEnv, ...choice };
  if (configured.server !== undefined) return named(configured.server, all, {});
  return running(configured.data ?? defaultDataDirectory(env), all);
}

/** A client of the server that was named. The token is read again at each call: its file may be replaced. */
export function connect(address: ServerAddress, context: CliContext): Client {
  const target = { url: address.url, ...defined({ fingerprint: address.fingerprint }) };
  const transport = (context.transport ?? httpTransport)(target);
  return createClient(explaining(transport, address), () => readSecretFile(address.tokenFile, 'token'));
}

function named(server: string, choice: ServerChoice, env: Env): ServerAddress {
  const tokenFile =
    choice.tokenFile ?? env.PILOTAGE_TOKEN_FILE ?? (choice.data && path.join(choice.data, 'admin-token'));
  if (!tokenFile) {
    throw new PilotageError(
      'bad-request',
      `which token for ${server}? Give --token-file FILE or set PILOTAGE_TOKEN_FILE; 'pilotage token create' on the server makes one`,
    );
  }
  const fingerprint = choice.fingerprint ?? env.PILOTAGE_FINGERPRINT;
  return { url: checkedUrl(server), tokenFile, ...(fingerprint ? { fingerprint } : {}) };
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

function running(data: string, choice: ServerChoice): ServerAddress {
  const file = path.join(data, 'server.json');
  const found = readServerFile(file, data);
  const fingerprint = choice.fingerprint ?? found.fingerprint ?? undefined;
  return {
    url: found.url,
    tokenFile: choice.tokenFile ?? path.join(data, 'admin-token'),
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
function explaining(transport: Transport, address: ServerAddress): Transport {
  const { file } = address;
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
