import { PilotageError } from '../../ground/base/errors.ts';
import type { HttpTarget } from '../../ground/client/http-transport.ts';
import type { Transport } from '../../ground/client/transport.ts';
import type { Site } from '../../ground/protocol/site.ts';
import type { SiteCheck } from '../../ground/protocol/site-check.ts';
import type { S3Access } from './s3-file.ts';
import type { SmtpAccess } from './smtp-options.ts';
import { openTerminal, type Terminal } from './terminal.ts';

export interface OutputStream extends NodeJS.WritableStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/** What a command line runs in. `main` gives the real things, a test its own. */
export interface CliContext {
  readonly stdin: NodeJS.ReadableStream;
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly version: string;
  now(): Date;
  /** Calls back at each Ctrl-C, in place of ending the process, until the returned function is called. */
  onInterrupt(listener: () => void): () => void;
  /** How a server is reached; HTTP over TCP or TLS unless given. */
  readonly transport?: (target: HttpTarget) => Transport;
  /** Runs a server until it is told to end. Resolves with the exit code. */
  serve(options: ServeOptions): Promise<number>;
  /** Makes the data of a server from a backup. Rejects with what is wrong, and then nothing of it is left. */
  restore(options: RestoreOptions): Promise<RestoreReport>;
  /** Runs a worker until it ends. Resolves with the exit code. */
  worker(options: WorkerOptions): Promise<number>;
  /** The cache of this machine's workers. The usual work directory unless one is named. */
  readonly cache: CacheCommands;
  /** Sends jobs to sites until it ends. Resolves with the exit code. */
  agent(options: AgentOptions): Promise<number>;
  /** Asks the agent of this user for a server, at its socket. Rejects with `unreachable` when none runs. */
  readonly askAgent: AskAgent;
  /** Hosts of services, and what belongs to them. */
  readonly service: ServiceCommands;
  /** Looks whether a site's machines are fit for jobs. What is wrong with one is in the result. */
  checkSite(options: CheckSiteOptions): Promise<SiteCheck>;
  /** The person who sits there, whatever the streams are; undefined: nobody does. */
  openTerminal(): Terminal | undefined;
}

export interface ServiceCommands {
  /** Hosts services in this process until they end. Resolves with the exit code. */
  run(options: ServiceHostOptions): Promise<number>;
  /** Writes a service to begin with. Resolves with the files. */
  create(directory: string, name: string): Promise<readonly string[]>;
  /** Rejects with what is wrong. */
  check(
    directory: string,
  ): Promise<{ readonly name: string; readonly hooks: readonly string[]; readonly isTypeChecked: boolean }>;
  /** One service in the background; resolves when it hosts, or has said why not. */
  start(options: ServiceHostOptions): Promise<BackgroundState>;
  /** False: it does not end. */
  stop(directory: string): Promise<boolean>;
  /** Undefined: none has ever run there. */
  status(directory: string): Promise<BackgroundState | undefined>;
}

export type BackgroundState = { readonly log: string } & (
  | {
      readonly state: 'running';
      readonly process: { readonly pid: number };
      readonly since: string;
      readonly service: string;
      readonly project: string;
    }
  | { readonly state: 'stopped' | 'failed'; readonly at: string; readonly reason: string | null }
);

/** `pilotage service run`. */
export interface ServiceHostOptions {
  readonly version: string;
  readonly server: string;
  readonly tokenFile: string;
  readonly fingerprint?: string;
  /** Directories of services. */
  readonly homes: readonly string[];
  /** 1 unless `--verbose` was given. */
  readonly verbosity: number;
}

/** `pilotage site test`. */
export interface CheckSiteOptions {
  readonly site: Site;
  /** Those of the site unless given, as `user`. */
  readonly machines?: readonly string[];
  readonly user?: string;
  readonly acceptHostKeys?: readonly string[];
  readonly terminal?: AskPerson;
  readonly signal: AbortSignal;
}

/** Asks the person at the terminal. `signal` comes when the answer is of no use any more. */
export type AskPerson = (question: LoginQuestion, signal: AbortSignal) => Promise<string | undefined>;

/** `pilotage agent`. */
export interface AgentOptions {
  readonly version: string;
  readonly server: string;
  readonly tokenFile: string;
  readonly fingerprint?: string;
  readonly sites: readonly Site[];
  /** Where they are described. */
  readonly sitesFile: string;
  /** Its journal: on a disk that outlives a reboot. */
  readonly directory: string;
  readonly projects?: readonly string[];
  /** Asks the person at the terminal; undefined when there is none. */
  readonly terminal?: AskPerson;
  /** Host keys to accept, by their fingerprints. */
  readonly acceptHostKeys?: readonly string[];
  /** 1 unless `--verbose` was given. */
  readonly verbosity: number;
}

/** What a login needs: a password, the passphrase of a key, a one-time code, or a word on a host key. */
export interface LoginQuestion {
  readonly user?: string;
  readonly machine: string;
  readonly kind: 'password' | 'passphrase' | 'code' | 'host-key' | 'other';
  readonly prompt: string;
  readonly fingerprint?: string;
  /** What was given before was refused. */
  readonly wasRefused?: boolean;
}

export interface OpenLoginQuestion extends LoginQuestion {
  readonly id: string;
  readonly wasRefused: boolean;
}

/** How a site's machine is used by the agent: connections made, commands sent, and how often its batch system is asked. */
export interface SiteUse {
  readonly site: string;
  readonly machine: string;
  readonly jobs: number;
  readonly connections: number;
  readonly commands: number;
  readonly schedulerCommands: number;
  readonly polls: number;
  readonly intervalMs: number;
}

export interface AskAgent {
  questions(agent: AgentPlace): Promise<readonly OpenLoginQuestion[]>;
  /** False: nobody asked that any more. */
  answer(agent: AgentPlace, id: string, text: string): Promise<boolean>;
  use(agent: AgentPlace): Promise<readonly SiteUse[]>;
  sites(agent: AgentPlace): Promise<AgentSites>;
}

/** What an agent that runs knows of sites, and the file that it read. */
export interface AgentSites {
  readonly file: string;
  readonly sites: readonly Site[];
}

/** Which agent: its directory, and the server that it works for. */
export interface AgentPlace {
  readonly directory: string;
  readonly server: string;
}

export interface CacheCommands {
  show(directory?: string): Promise<CacheView>;
  list(directory?: string): Promise<readonly CachedBlob[]>;
  /** Leaves at most so many bytes of what is not in use. */
  prune(bytes: number, directory?: string): Promise<{ blobs: number; bytes: number; left: number }>;
}

/** Sizes in bytes. */
export interface CacheView {
  readonly directory: string;
  readonly bytes: number;
  readonly blobs: number;
  readonly limitBytes: number | null;
  readonly inUse: { readonly blobs: number; readonly bytes: number };
  readonly arriving: number;
  readonly users: readonly {
    readonly pid: number;
    readonly uses: number;
    readonly blobs: number;
    readonly arriving: number;
  }[];
}

export interface CachedBlob {
  readonly digest: string;
  readonly size: number;
  /** Milliseconds since 1970. */
  readonly usedAt: number;
  readonly inUse: boolean;
}

/** `pilotage serve`. What is undefined has not been said; the server knows what to take then. */
export interface ServeOptions {
  readonly data: string;
  readonly listen?: { readonly host: string; readonly port: number };
  /** With its password, if it has one. SQLite in the data directory unless given. */
  readonly database?: string;
  /** A directory, or `s3://bucket/prefix`. */
  readonly blobs?: string;
  readonly s3?: S3Access;
  /** Files that nothing refers to stay for so long. */
  readonly blobGraceSeconds?: number;
  readonly workers: number;
  readonly tls:
    | { readonly kind: 'none' | 'self-made' }
    | { readonly kind: 'files'; readonly cert: string; readonly key: string };
  readonly insecure: boolean;
  /** How people reach the server; where it listens unless given. */
  readonly publicUrl?: string;
  /** What neighbours call this server. */
  readonly name?: string;
  /** Where neighbours reach it; where it listens unless given. */
  readonly peerAddress?: { readonly host: string; readonly port: number };
  /** The key of secret links is lost: the servers of this database begin with a new one. */
  readonly newLinkKey?: boolean;
  /** Ports of its own for clients of CouchDB, beside `/couchdb/`. */
  readonly couchdbListen?: { readonly host: string; readonly port: number };
  readonly couchdbTlsListen?: { readonly host: string; readonly port: number };
  readonly heartbeatSeconds?: number;
  readonly leaseSeconds?: number;
  /** How long the audit log is kept. */
  readonly auditKeepSeconds?: number;
  /** After how long what users have used counts half. */
  readonly halfLifeSeconds?: number;
  /** How mails go out; without it they are kept. */
  readonly smtp?: SmtpAccess;
  /** Failures of a service within this go into one mail. */
  readonly mailWindowSeconds?: number;
  /** What calls of web hooks are signed with. */
  readonly webhookKey?: string;
  /** How often `--verbose` was given. */
  readonly verbose: number;
}

/** `pilotage restore`. */
export interface RestoreOptions {
  /** Where the backups are. */
  readonly from: string;
  /** Its name; the newest unless given. */
  readonly at?: string;
  readonly data: string;
  readonly database?: string;
  readonly blobs?: string;
  readonly s3?: S3Access;
  readonly identity: 'same' | 'new';
  readonly onStep: (message: string) => void;
}

export interface RestoreReport {
  readonly name: string;
  readonly identity: 'same' | 'new';
  readonly hasSecrets: boolean;
  readonly rows: number;
  readonly files: number;
  readonly bytes: number;
  /** Of a copy: unfinished tasks. */
  readonly cancelled: number;
}

/** `pilotage worker`. What is undefined has not been said: the worker looks at its machine. Sizes in bytes. */
export interface WorkerOptions {
  readonly version: string;
  readonly server: string;
  readonly tokenFile: string;
  readonly fingerprint?: string;
  /** The cpus that it offers. */
  readonly slots?: number;
  readonly memory?: number;
  readonly gpus?: number;
  readonly named?: Readonly<Record<string, number>>;
  readonly labels?: Readonly<Record<string, string>>;
  /** Sandboxes, spool and cache. */
  readonly workDirectory?: string;
  readonly cacheBytes?: number;
  readonly zone?: string;
  /** How it feeds workers of its zone; false: not at all. */
  readonly share?:
    | false
    | { readonly listen?: { readonly host: string; readonly port: number }; readonly address?: string };
  readonly name?: string;
  readonly projects?: readonly string[];
  readonly wallTimeSeconds?: number;
  readonly untilIdleSeconds?: number;
  readonly keepSandboxes: boolean;
  /** 1 unless `--verbose` was given. */
  readonly verbosity: number;
}

function currentDirectory(): string {
  try {
    return process.cwd();
  } catch (error) {
    throw new PilotageError(
      'not-found',
      "the directory that you are in is not there any more: change to another one ('cd')",
      {
        cause: error,
      },
    );
  }
}

/** The context of a process. `env` is the caller's to read. */
export function processContext(
  own: Pick<
    CliContext,
    'env' | 'version' | 'serve' | 'restore' | 'worker' | 'cache' | 'service' | 'agent' | 'askAgent' | 'checkSite'
  >,
): CliContext {
  // A reader that has seen enough (`pilotage tasks | head`) is no failure.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    throw error;
  });
  return {
    ...own,
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    get cwd() {
      return currentDirectory();
    },
    now: () => new Date(),
    openTerminal,
    onInterrupt: (listener) => {
      process.on('SIGINT', listener);
      return () => process.off('SIGINT', listener);
    },
  };
}
