import path from 'node:path';
import type { Command } from 'commander';
import { PilotageError } from '../../../ground/base/errors.ts';
import { defaultDataDirectory } from '../connect.ts';
import type { ServeOptions } from '../context.ts';
import type { Define } from '../define.ts';
import { defined } from '../defined.ts';
import type { Invocation } from '../invocation.ts';
import { duration, wholeNumber } from '../option-values.ts';
import { readSmtpOptions, readWebhookKey, type SmtpOptions } from '../smtp-options.ts';
import { type DatabaseOptions, findBlobs, findDatabase, findS3 } from '../where-data-is.ts';

interface Options extends SmtpOptions, DatabaseOptions {
  readonly listen?: string;
  readonly couchdbListen?: string | true;
  readonly couchdbTlsListen?: string | true;
  readonly workers: number;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsSelfMade?: boolean;
  readonly publicUrl?: string;
  readonly name?: string;
  readonly peerAddress?: string;
  readonly newLinkKey?: boolean;
  readonly insecure?: boolean;
  readonly heartbeat?: number;
  readonly lease?: number;
  readonly blobGrace?: number;
  readonly auditKeep?: number;
  readonly fairShareHalfLife?: number;
  readonly mailWindow?: number;
  readonly webhookKeyFile?: string;
}

export function serveCommand(define: Define): Command {
  return define('serve', 'Run a server; --data says where it keeps everything', serve)
    .option('--listen <host:port>', '127.0.0.1:9990 unless given; the port of the first start is kept')
    .option('--couchdb-listen [host:port]', 'a port for PiCaS and other clients of CouchDB, 127.0.0.1:5984 unless told')
    .option('--couchdb-tls-listen [host:port]', 'the same over TLS, 127.0.0.1:6984 unless told')
    .option('--database <url>', 'PostgreSQL in place of SQLite: postgres://USER@HOST/NAME, without a password')
    .option('--database-file <file>', 'a file of mode 0600 with such a URL, which may hold a password')
    .option('--blobs <dir>', 'where files are kept, also s3://BUCKET/PREFIX; below the data directory unless given')
    .option('--s3-file <file>', 'how that store is reached: YAML of mode 0600 with endpoint, region and keys')
    .option('--blob-grace <duration>', 'how long files stay that nothing refers to, 24h unless given', duration)
    .option('--audit-keep <duration>', 'how long it is kept who did what, 365d unless given', duration)
    .option(
      '--fair-share-half-life <duration>',
      'after how long use counts half between users, 24h unless given',
      duration,
    )
    .option('--workers <n>', 'workers to run on this machine, which share its cores', wholeNumber(), 0)
    .option('--tls-cert <file>', 'a certificate (PEM), with --tls-key')
    .option('--tls-key <file>', 'its key (PEM, mode 0600)')
    .option('--tls-self-made', 'make a certificate and print its fingerprint, which clients pin')
    .option(
      '--public-url <url>',
      'how people reach this server, for links in pages and mails; where it listens unless given',
    )
    .option('--name <name>', "what neighbours call this server, the machine's name unless given", serverName)
    .option('--peer-address <host:port>', 'where neighbours reach this server, if it is not where it listens')
    .option(
      '--new-link-key',
      'the key of secret links that the servers of this database had is lost: go on with the one that is here',
    )
    .option('--insecure', 'listen beyond this machine without TLS: tokens can be read on the way')
    .option('--heartbeat <duration>', 'how often workers report, 30s unless given', duration)
    .option(
      '--lease <duration>',
      'how long a silent worker keeps its tasks, twice the heartbeat unless given',
      duration,
    )
    .option('--smtp <url>', 'the mail server: smtp://[USER@]HOST[:PORT], smtps:// for TLS from the start')
    .option('--smtp-password-file <file>', "a file of mode 0600 with that user's password")
    .option('--smtp-require-tls', 'never in the clear; as it is when a password goes to another machine')
    .option('--mail-from <address>', 'the sender of all mails')
    .option(
      '--mail-window <duration>',
      'failures of a service within this come in one mail, 10m unless given',
      duration,
    )
    .option('--webhook-key-file <file>', 'a file of mode 0600 with the key that calls of web hooks are signed with');
}

async function serve(invocation: Invocation, options: Options): Promise<number> {
  const { context, options: globals } = invocation;
  const database = findDatabase(options, context.env);
  const served: ServeOptions = {
    data: path.resolve(context.cwd, dataOf(invocation)),
    workers: options.workers,
    tls: toTls(options, context.cwd),
    insecure: options.insecure === true,
    verbose: globals.verbose ?? 0,
    ...defined({
      database,
      publicUrl: options.publicUrl === undefined ? undefined : parsePublicUrl(options.publicUrl),
      name: options.name,
      peerAddress: options.peerAddress === undefined ? undefined : parseListen(options.peerAddress),
      newLinkKey: options.newLinkKey,
      listen: options.listen === undefined ? undefined : parseListen(options.listen),
      couchdbListen: parseOptional(options.couchdbListen, 5984),
      couchdbTlsListen: parseOptional(options.couchdbTlsListen, 6984),
      blobs: findBlobs(options.blobs, context.cwd),
      s3: await findS3(options),
      blobGraceSeconds: options.blobGrace,
      auditKeepSeconds: options.auditKeep,
      halfLifeSeconds: options.fairShareHalfLife,
      heartbeatSeconds: options.heartbeat,
      leaseSeconds: options.lease,
      smtp: readSmtpOptions(options),
      mailWindowSeconds: options.mailWindow,
      webhookKey: readWebhookKey(options.webhookKeyFile),
    }),
  };
  checkLease(served);
  return context.serve(served);
}

/** Without a slash at its end. */
function parsePublicUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isPlain = url && /^https?:$/.test(url.protocol) && url.search === '' && url.hash === '' && url.username === '';
  if (isPlain) return `${url.origin}${url.pathname.replace(/\/+$/, '')}`;
  throw new PilotageError('bad-request', `'${text}' is no address of a server: write https://HOST[:PORT]`);
}

function serverName(text: string): string {
  if (/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$/.test(text)) return text;
  throw new PilotageError(
    'bad-request',
    `'${text}' is no name for a server: letters, digits, '-', '_' and '.', at most 63`,
  );
}

/** An address, or the usual port of this machine if the option stands alone. */
function parseOptional(told: string | true | undefined, port: number): { host: string; port: number } | undefined {
  if (told === undefined) return undefined;
  return told === true ? { host: '127.0.0.1', port } : parseListen(told);
}

function dataOf({ context: { env }, options, configured }: Invocation): string {
  return options.data ?? (env.PILOTAGE_DATA || configured.data || defaultDataDirectory(env));
}

/** `HOST:PORT`, `[::1]:9990`, or a port alone, which is one of this machine's own. */
export function parseListen(text: string): { host: string; port: number } {
  const match = /^(?:(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):)?(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65_535) {
    throw new PilotageError(
      'bad-request',
      `'${text}' is no address to listen on: write HOST:PORT, as in 127.0.0.1:9990 or 0.0.0.0:9990`,
    );
  }
  return { host: match[1] ?? match[2] ?? '127.0.0.1', port };
}

function toTls({ tlsCert, tlsKey, tlsSelfMade }: Options, cwd: string): ServeOptions['tls'] {
  if (tlsSelfMade && (tlsCert !== undefined || tlsKey !== undefined)) {
    throw new PilotageError('bad-request', '--tls-self-made makes a certificate: leave out --tls-cert and --tls-key');
  }
  if (tlsSelfMade) return { kind: 'self-made' };
  if (tlsCert === undefined && tlsKey === undefined) return { kind: 'none' };
  if (tlsCert === undefined || tlsKey === undefined)
    throw new PilotageError('bad-request', '--tls-cert and --tls-key go together: give both');
  return { kind: 'files', cert: path.resolve(cwd, tlsCert), key: path.resolve(cwd, tlsKey) };
}

function checkLease({ heartbeatSeconds = 30, leaseSeconds }: ServeOptions): void {
  if (heartbeatSeconds <= 0) throw new PilotageError('bad-request', 'the heartbeat must be longer than nothing');
  if (leaseSeconds === undefined || leaseSeconds > heartbeatSeconds) return;
  throw new PilotageError(
    'bad-request',
    `a lease of ${leaseSeconds} s runs out before the next heartbeat (${heartbeatSeconds} s): make it at least twice as long`,
  );
}
