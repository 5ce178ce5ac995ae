import type { Command } from 'commander';
import { PilotageError } from '../../../ground/base/errors.ts';
import { type CouchdbClient, couchdbClient, describeCouchdbError } from '../../../ground/client/couchdb-client.ts';
import { type Copied, type CopyEnd, copyDatabase } from '../couchdb/copy-database.ts';
import { readLogin } from '../couchdb/read-login.ts';
import type { Define } from '../define.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { readSecretFile } from '../secret-file.ts';
import { plural } from '../table.ts';

interface Options {
  readonly project?: string;
  readonly loginFile?: string;
  readonly couchdbFingerprint?: string;
}

export function importCommand(define: Define): Command {
  return define('import', "Bring in what another system holds (a project of Pilotage: 'project import')").addCommand(
    withOptions(
      define('couchdb', 'Bring a database of CouchDB: tokens, other documents, views, attachments', importCouchdb)
        .argument('<url>', 'https://HOST:6984/DATABASE')
        .option('--project <name>', 'into which project; made if missing, called as the database unless told'),
    ),
  );
}

export function exportCommand(define: Define): Command {
  return define('export', "Take a project to another system (into a file: 'project export')").addCommand(
    withOptions(
      define(
        'couchdb',
        'Bring a project into a database of CouchDB: tokens, other documents, views, attachments',
        exportCouchdb,
      )
        .argument('<project>', 'which project')
        .argument('<url>', 'https://HOST:6984/DATABASE; made if missing'),
    ),
  );
}

function withOptions(command: Command): Command {
  return command
    .option(
      '--login-file <file>',
      'name and password for it, as NAME:PASSWORD or a picasconfig.py; a file of mode 0600',
    )
    .option('--couchdb-fingerprint <sha256>', 'the fingerprint of its certificate, if nobody signed it');
}

async function importCouchdb(invocation: Invocation, options: Options, url: string): Promise<number> {
  const { address, database } = parseDatabaseUrl(url);
  const project = options.project ?? database;
  const from = { client: foreign(address, options), database, name: `${address}/${database}` };
  const to = own(invocation, project);
  return copy(invocation, from, to, () => create(to));
}

async function exportCouchdb(invocation: Invocation, options: Options, project: string, url: string): Promise<number> {
  const { address, database } = parseDatabaseUrl(url);
  const to = { client: foreign(address, options), database, name: `${address}/${database}` };
  return copy(invocation, own(invocation, project), to, () => create(to));
}

/** `https://host:6984/pool`: the last part is the database. Passwords have no place in it: others see what is run. */
function parseDatabaseUrl(text: string): { address: string; database: string } {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const parts = url?.pathname.split('/').filter((part) => part !== '') ?? [];
  const database = parts.pop();
  if (!url || !/^https?:$/.test(url.protocol) || database === undefined)
    throw new PilotageError('bad-request', `'${text}' is no database of CouchDB: write https://HOST:6984/DATABASE`);
  if (url.username !== '' || url.password !== '')
    throw new PilotageError(
      'bad-request',
      'everybody on this machine sees what is run: give name and password with --login-file FILE, not in the address',
    );
  return { address: [url.origin, ...parts].join('/'), database: decodeURIComponent(database) };
}

function foreign(url: string, { loginFile, couchdbFingerprint: fingerprint }: Options): CouchdbClient {
  const login = loginFile === undefined ? { user: null, password: null } : readLogin(loginFile);
  return couchdbClient({ url, ...login, ...(fingerprint === undefined ? {} : { fingerprint }) });
}

/** Our own server is entered by its other face, with the token that one has. */
function own(invocation: Invocation, project: string): CopyEnd {
  const { url, tokenFile, fingerprint } = invocation.address();
  const password = readSecretFile(tokenFile, 'token');
  const target = {
    url: `${url}/couchdb`,
    user: 'token',
    password,
    ...(fingerprint === undefined ? {} : { fingerprint }),
  };
  return { client: couchdbClient(target), database: project, name: `project '${project}'` };
}

async function create({ client, database, name }: CopyEnd): Promise<void> {
  const path = `/${encodeURIComponent(database)}`;
  const there = await client.json('GET', path);
  if (there.status === 200) return;
  const made = there.status === 404 ? await client.json('PUT', path) : there;
  if (made.status === 201 || made.status === 202 || made.status === 412) return;
  throw new PilotageError(
    'transfer-failed',
    `${name} could not be made (${made.status}, ${describeCouchdbError(made.value)})`,
  );
}

async function requireReadable({ client, database, name }: CopyEnd): Promise<void> {
  const { status, value } = await client.json('GET', `/${encodeURIComponent(database)}`);
  if (status === 200 && typeof (value as { db_name?: unknown }).db_name === 'string') return;
  const isCouchdb = status === 200 ? false : typeof (value as { error?: unknown }).error === 'string';
  if (!isCouchdb)
    throw new PilotageError(
      'transfer-failed',
      `what answers at ${name} is no CouchDB (${status}): is that its address, without a path of web pages?`,
    );
  const advice = status === 404 ? 'is that its name?' : 'give name and password with --login-file';
  throw new PilotageError(
    'transfer-failed',
    `${name} could not be read (${status}, ${describeCouchdbError(value)}): ${advice}`,
  );
}

async function copy(invocation: Invocation, from: CopyEnd, to: CopyEnd, prepare: () => Promise<void>): Promise<number> {
  try {
    await requireReadable(from);
    await prepare();
    let told = 0;
    const copied = await copyDatabase(from, to, (done, total) => {
      if (invocation.json || done - told < 5000) return;
      told = done;
      void invocation.say(`${done} of ${total} documents are there`);
    });
    await invocation.print(copied, () => describe(from.name, to.name, copied));
    return EXIT.done;
  } finally {
    from.client.close();
    to.client.close();
  }
}

function describe(from: string, to: string, { documents, designs, attachments, unchanged }: Copied): string {
  const there =
    unchanged === 0 ? '' : `; ${plural(unchanged, 'document')} stood there already, in this version or a newer one`;
  return `${from} → ${to}: ${plural(documents, 'document')}, ${plural(designs, 'design document')}, ${plural(attachments, 'attachment')}${there}\nusers and the list of who may enter stay where they are: 'pilotage project credentials' makes new ones`;
}
