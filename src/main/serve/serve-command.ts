import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { hostname } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import type { ServeOptions } from '../../face/cli/context.ts';
import { PilotageError } from '../../ground/base/errors.ts';
import type { Log } from '../../ground/base/log.ts';
import { PROTOCOL_VERSION } from '../../ground/protocol/limits.ts';
import { createCopies } from '../../server/backup/copies.ts';
import { createImports } from '../../server/backup/imports.ts';
import { DEFAULT_COPY_SETTINGS } from '../../server/backup/settings.ts';
import { openBlobs } from '../../server/blobs/blobs.ts';
import { registerCouchdb } from '../../server/couchdb/face.ts';
import { openFace } from '../../server/couchdb/open-face.ts';
import { registerFederation } from '../../server/federation/routes.ts';
import { registerApi } from '../../server/http/api.ts';
import { registerDocuments } from '../../server/http/documents.ts';
import { registerHealth } from '../../server/http/health.ts';
import { registerMetrics } from '../../server/http/metrics.ts';
import { registerPages } from '../../server/http/pages.ts';
import type { Notices } from '../../server/notices/notices.ts';
import { startKeeper } from '../../server/pool/keeper.ts';
import { createLinks } from '../../server/pool/links.ts';
import { createNeighbourHooks } from '../../server/pool/neighbours.ts';
import type { Parts } from '../../server/pool/parts.ts';
import { createPool } from '../../server/pool/pool.ts';
import { startBlobRemover } from '../../server/pool/remove-blobs.ts';
import { createSignals } from '../../server/pool/signals.ts';
import { createTickets } from '../../server/pool/tickets.ts';
import { takeDataDirectory } from '../../server/store/sqlite/data-directory.ts';
import { openSqlite } from '../../server/store/sqlite/open-sqlite.ts';
import type { Store } from '../../server/store/store.ts';
import { createListener } from '../../server/web/listener.ts';
import { VERSION } from '../version.ts';
import { type Certificate, readCertificate } from './certificate.ts';
import { type CouchdbPorts, openCouchdbPorts, refuseOpenCouchdb } from './couchdb-ports.ts';
import { type EarlierPorts, listenAtEarlierPorts } from './earlier-ports.ts';
import { faultOfJson } from './fault-of-json.ts';
import { readIdentity } from './identity-files.ts';
import { linkKey } from './link-key.ts';
import { type Address, isLoopback, listen } from './listen.ts';
import { startLocalWorkers, workerLog } from './local-workers.ts';
import { openAccess } from './open-access.ts';
import { neighbourDoor } from './open-neighbours.ts';
import { openNotices } from './open-notices.ts';
import { placesOf, usualName } from './peer-identity.ts';
import { serverFiles } from './server-files.ts';
import { settingsOf } from './settings-of.ts';

/** Where `npm run build` puts the web pages, as seen from the compiled file. */
const PAGES = join(import.meta.dirname, '../../face/dashboard');

/** Builds a server, runs it until SIGTERM or SIGINT, and takes it apart in order. Resolves with the exit code. */
export async function runServe(options: ServeOptions): Promise<number> {
  const host = options.listen?.host ?? '127.0.0.1';
  refuseOpen(host, options);
  refuseOpenCouchdb(options);
  const log = pino(
    { level: ['info', 'debug', 'trace'][options.verbose] ?? 'trace', base: { pid: process.pid } },
    pino.destination({ dest: 2, sync: true }),
  ) as unknown as Log;
  const { store, release } = await openStore(options, log);
  try {
    return await serve(options, host, store, log);
  } finally {
    await store.close();
    release();
  }
}

function refuseOpen(host: string, options: ServeOptions): void {
  if (isLoopback(host) || options.tls.kind !== 'none' || options.insecure) return;
  throw new PilotageError(
    'bad-request',
    `listening on ${host} would send tokens over the network in the clear: add --tls-self-made, or --tls-cert and --tls-key, or say --insecure if the network itself is safe`,
  );
}

async function openStore(options: ServeOptions, log: Log): Promise<{ store: Store; release: () => void }> {
  if (options.database === undefined) return { store: await openSqlite(options.data), release: () => undefined };
  const lock = takeDataDirectory(options.data, () => 0);
  try {
    const { openPostgres } = await import('../../server/store/postgres/open-postgres.ts');
    return { store: await openPostgres(options.database, (message) => log.warn({}, message)), release: lock.release };
  } catch (error) {
    lock.release();
    throw error;
  }
}

async function serve(options: ServeOptions, host: string, store: Store, log: Log): Promise<number> {
  const startedAt = Date.now();
  const files = serverFiles(options.data);
  const settings = settingsOf(options);
  const id = randomUUID();
  const tickets = createTickets();
  const { extendedMs } = await store.startServer({
    id,
    host: hostname(),
    pid: process.pid,
    lease: settings,
    aliveWithinMs: settings.serverAliveMs,
    ticketKey: tickets.publicKey,
  });
  if (extendedMs > 0) log.info({ extendedMs }, 'leases were extended by the time that no server was there');
  await store.createProject({ name: 'default', owner: 'admin' });
  const { access, users, audit } = await openAccess(store, files, log);

  // Known once the server listens.
  let publicUrl = options.publicUrl ?? '';
  const spool = join(options.data, 'forms');
  // What a server that was killed left of forms that were arriving.
  await rm(spool, { recursive: true, force: true });

  const closing = new AbortController();
  const blobs = await openBlobs(options.blobs ?? join(options.data, 'blobs'), {
    ...(process.env.AWS_REGION ? { region: process.env.AWS_REGION } : {}),
    ...options.s3,
    spoolDirectory: join(options.data, 'incoming'),
  });
  const partsButDirty = {
    store,
    blobs,
    audit,
    signals: createSignals(store),
    tickets,
    links: createLinks(await linkKey({ options, store, files, log }), () => publicUrl),
    neighbours: createNeighbourHooks(),
    settings,
    version: VERSION,
    closing: closing.signal,
    log,
  };
  const keeper = startKeeper(partsButDirty, id);
  const remover = startBlobRemover(partsButDirty, id);
  const parts: Parts = { ...partsButDirty, dirty: keeper.dirty };
  const pool = createPool(parts, { protocol: PROTOCOL_VERSION, startedAt });

  const copies = createCopies({
    parts,
    settings: DEFAULT_COPY_SETTINGS,
    readIdentity: () => readIdentity(options.data),
  });
  const imports = createImports(parts, faultOfJson);

  const certificate = await certificateOf(options);
  const door = neighbourDoor();
  const neighbour = (raw: IncomingMessage) => door.federation?.principalOf(raw);
  const app = createListener({
    access,
    log,
    tls: certificate,
    neighbour,
    relay: (...asked) => door.find().relay(...asked),
  });
  registerDocuments(app, VERSION);
  registerMetrics(app, pool);
  registerHealth(app, store);
  registerPages(app, PAGES, (link) => pool.link(link));
  const stopAsked = Promise.withResolvers<string>();
  const people = {
    ...{ store, access, users, audit },
    stop: () => stopAsked.resolve('a command'),
    server: { host: hostname(), pid: process.pid },
  };
  let where: CouchdbPorts['where'] = { ports: [], certificate: null };
  registerApi(app, { pool, people, couchdb: { where: () => where }, copies, imports, spool });
  registerFederation(app, door.find);
  const face = openFace({ parts, pool, access, users, directory: join(options.data, 'views'), log });
  registerCouchdb(app, face.house, '/couchdb');
  let couchdb: CouchdbPorts | undefined;
  let notices: Notices | undefined;
  let earlier: EarlierPorts | undefined;
  // Whoever ends it while it starts ends it in order too.
  const signalled = stopSignal();
  try {
    const address = await listen(app, { host, port: options.listen?.port }, files);
    couchdb = await openCouchdbPorts({ options, access, log, house: face.house, certificate });
    where = couchdb.where;
    const url = urlOf(address, certificate);
    publicUrl = options.publicUrl ?? url;
    const places = options.peerAddress ? [options.peerAddress] : placesOf(address.host, address.port);
    const name = options.name ?? usualName();
    await door.open({ parts, app, data: options.data, files, serverId: id, name, places: () => places });
    earlier = listenAtEarlierPorts({ host, files, log, door });
    files.announce({ url, pid: process.pid, fingerprint: certificate?.fingerprint ?? null, version: VERSION });
    sayWhere(url, certificate, address.insteadOf, options);
    notices = openNotices({ options, store, log, serverId: id, settings, links: parts.links });
    for (const one of couchdb.urls) process.stdout.write(`  for clients of CouchDB: ${one}\n`);
    const workers = await startLocalWorkers({
      count: options.workers,
      url: localUrl(url, host),
      fingerprint: certificate?.fingerprint ?? null,
      data: options.data,
      verbose: options.verbose,
      log,
    });

    const by = await Promise.race([signalled, stopAsked.promise]);
    log.info({ by }, 'stopping: local workers first, then the listener, then the database');
    await workers.stop();
    files.withdraw();
    return 0;
  } finally {
    closing.abort();
    earlier?.close();
    await door.stop();
    await Promise.all([app.close(), couchdb?.close()]);
    await Promise.all([
      ...[keeper.stop(), remover.stop(), imports.stop(), face.close(), notices?.stop(), audit.close()],
    ]);
  }
}

function urlOf({ host, port }: Address, certificate: Certificate | null): string {
  const name = host.includes(':') && !host.startsWith('[') ? `[${host}]` : host;
  return `${certificate ? 'https' : 'http'}://${name}:${port}`;
}

async function certificateOf(options: ServeOptions): Promise<Certificate | null> {
  switch (options.tls.kind) {
    case 'none':
      return null;
    case 'self-made':
      return (await import('./self-made-certificate.ts')).selfMadeCertificate(options.data);
    case 'files':
      return readCertificate(options.tls.cert, options.tls.key);
  }
}

function sayWhere(
  url: string,
  certificate: Certificate | null,
  insteadOf: number | null,
  { data, workers }: ServeOptions,
): void {
  const lines = [`Pilotage ${VERSION} serves at ${url}`];
  if (insteadOf !== null) lines.push(`  port ${insteadOf} was not free; this one is kept from now on`);
  if (certificate) lines.push(`  fingerprint of its certificate: ${certificate.fingerprint}`);
  if (workers > 0) lines.push(`  ${workers} local workers; what they do is in ${workerLog(data)}`);
  lines.push(
    `  data: ${data}`,
    `  administrator's token: ${join(data, 'admin-token')}`,
    '  Ctrl-C ends it; nothing is lost by that',
  );
  process.stdout.write(`${lines.join('\n')}\n`);
}

/** A server that listens everywhere is reached by its own machine at its loopback address. */
function localUrl(url: string, host: string): string {
  return host === '0.0.0.0' || host === '::' ? url.replace(/\/\/[^/]*:(\d+)$/, '//127.0.0.1:$1') : url;
}

function stopSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve(signal));
  });
}
