import path from 'node:path';
import type { Command } from 'commander';
import { PilotageError } from '../../../ground/base/errors.ts';
import { formatSize } from '../../../ground/base/size.ts';
import type { RestoreReport } from '../context.ts';
import type { Define } from '../define.ts';
import { defined } from '../defined.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { plural } from '../table.ts';
import { type DatabaseOptions, findBlobs, findDatabase, findS3 } from '../where-data-is.ts';

interface Options extends DatabaseOptions {
  readonly at?: string;
  readonly sameIdentity?: boolean;
  readonly newIdentity?: boolean;
}

export function restoreCommand(define: Define): Command {
  return define(
    'restore',
    'Make the data of a server from a backup; --data says where: a directory that is new or empty',
    restore,
  )
    .argument('<dir>', 'where the backups are')
    .option('--at <name>', "which one, as 'backup list' shows it; the newest unless given")
    .option('--same-identity', 'it takes the place of the server that it was, which never runs again')
    .option('--new-identity', 'it is a copy: what was unfinished is cancelled there, and nothing runs twice')
    .option('--database <url>', 'into an empty database of PostgreSQL: postgres://USER@HOST/NAME, without a password')
    .option('--database-file <file>', 'a file of mode 0600 with such a URL, which may hold a password')
    .option('--blobs <dir>', 'where files go, also s3://BUCKET/PREFIX; below the data directory unless given')
    .option('--s3-file <file>', 'how that store is reached: YAML of mode 0600 with endpoint, region and keys');
}

async function restore(invocation: Invocation, options: Options, dir: string): Promise<number> {
  const { context, options: globals } = invocation;
  if (globals.data === undefined)
    throw new PilotageError('bad-request', 'where is it to go? Give --data DIR, a directory that is new or empty');
  const report = await context.restore({
    from: path.resolve(context.cwd, dir),
    data: path.resolve(context.cwd, globals.data),
    identity: identityOf(options),
    onStep: (message) => {
      if (!invocation.json) void invocation.say(message);
    },
    ...defined({
      at: options.at,
      database: findDatabase(options, context.env),
      blobs: findBlobs(options.blobs, context.cwd),
      s3: await findS3(options),
    }),
  });
  await invocation.print(report, () => describe(report, startOf(options, globals.data as string)));
  return EXIT.done;
}

function identityOf({ sameIdentity, newIdentity }: Options): 'same' | 'new' {
  if (sameIdentity !== newIdentity) return sameIdentity ? 'same' : 'new';
  throw new PilotageError(
    'bad-request',
    'say what it is to be: --same-identity if the server that was backed up never runs again (its workers come to this one), --new-identity if this is a copy beside it (what was unfinished is cancelled, so that nothing runs twice)',
  );
}

/** How the server is started on what was made, wherever the parts of it went. */
function startOf(options: Options, data: string): Start {
  const { database, databaseFile, blobs, s3File } = options;
  const given = Object.entries({ database, 'database-file': databaseFile, blobs, 's3-file': s3File });
  const more = given.flatMap(([name, value]) => (value === undefined ? [] : [` --${name} ${value}`]));
  return { data, command: `pilotage serve --data ${data}${more.join('')}` };
}

interface Start {
  readonly data: string;
  readonly command: string;
}

function describe(report: RestoreReport, { data, command }: Start): string {
  const { name, rows, files, bytes, cancelled, identity, hasSecrets } = report;
  const what = `restored ${name}: ${plural(rows, 'row')} and ${plural(files, 'file')} (${formatSize(bytes)}) are in ${data}`;
  return [what, ...(identity === 'new' ? asCopy(cancelled) : asSame(hasSecrets)), `start it with '${command}'`].join(
    '\n',
  );
}

function asCopy(cancelled: number): string[] {
  return [
    `it is a copy with an identity of its own: ${plural(cancelled, 'unfinished task')} ${cancelled === 1 ? 'is' : 'are'} cancelled in it ('pilotage retry' runs them here), its pilots are paused, mails that waited are not sent`,
  ];
}

function asSame(hasSecrets: boolean): string[] {
  const never =
    'NEVER start the server that was backed up again: two servers with one identity run the same tasks, and each tells workers that the other is wrong';
  if (hasSecrets) return [never];
  return [
    never,
    "the backup was made without --with-identity: the administrator's token is a new one, workers that pin a certificate need the new fingerprint, secret links of jobs that were sent do not open, and neighbours have to be asked for trust anew. If the old data directory can still be read, copy 'admin-token', 'link-key', 'port', 'tls-*.pem' and 'peer-*.pem' from it before the start",
  ];
}
