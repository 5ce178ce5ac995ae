import path from 'node:path';
import type { Command } from 'commander';
import { formatSize } from '../../../ground/base/size.ts';
import type { Manifest } from '../../../ground/protocol/backup.ts';
import type { Define } from '../define.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { withFileProgress } from '../submission/file-progress.ts';
import { type Column, formatTable, plural } from '../table.ts';

export function backupCommand(define: Define): Command {
  return define('backup', 'Copy everything that a running server keeps into a directory here', take)
    .argument('<dir>', 'made if missing; what earlier backups brought there is not fetched again')
    .option('--with-identity', 'with the secrets that the server is known by, so that it can be restored as the same')
    .addCommand(define('list', 'Show the backups in a directory', list).argument('<dir>', 'where they are'))
    .addCommand(
      define('verify', 'Look at every byte of a backup', verify)
        .argument('<dir>', 'where it is')
        .option('--at <name>', 'which one; the newest unless given'),
    );
}

async function take(invocation: Invocation, options: { withIdentity?: boolean }, dir: string): Promise<number> {
  const { takeBackup } = await import('../../../ground/client/backup/take-backup.ts');
  const taken = await withFileProgress(invocation, (onProgress) =>
    takeBackup({
      client: invocation.client(),
      directory: path.resolve(invocation.context.cwd, dir),
      withIdentity: options.withIdentity === true,
      now: invocation.context.now(),
      onProgress,
    }),
  );
  const { name, path: place, newBytes, manifest } = taken;
  await warnOfLost(invocation, manifest);
  const shown = { name, path: place, ...factsOf(manifest), newBytes };
  await invocation.print(
    shown,
    () => `${place}: ${describe(manifest)}; ${formatSize(newBytes)} of files were new here`,
  );
  return EXIT.done;
}

/** It is no fault of the backup, and somebody should know. */
async function warnOfLost(invocation: Invocation, { lost }: Manifest): Promise<void> {
  if (lost.length === 0) return;
  await invocation.say(
    `the server itself has lost ${plural(lost.length, 'file')}, which this backup cannot hold; the first is ${lost[0]}. Whoever submits these bytes again puts them back`,
  );
}

async function list(invocation: Invocation, _options: object, dir: string): Promise<number> {
  const { backupsIn } = await import('../../../ground/client/backup/layout.ts');
  const { readManifest } = await import('../../../ground/client/backup/manifest.ts');
  const rows: Listed[] = [];
  for (const place of await backupsIn(path.resolve(invocation.context.cwd, dir))) {
    if (!place.isComplete) rows.push({ name: place.name, state: 'incomplete' });
    else
      rows.push(
        await readManifest(place.path).then(
          (manifest): Listed => ({ name: place.name, state: 'whole', ...factsOf(manifest) }),
          (error: Error): Listed => ({ name: place.name, state: 'damaged', reason: error.message }),
        ),
      );
  }
  await invocation.printList(rows, () => formatTable(COLUMNS, rows));
  return EXIT.done;
}

async function verify(invocation: Invocation, options: { at?: string }, dir: string): Promise<number> {
  const directory = path.resolve(invocation.context.cwd, dir);
  const { findBackup } = await import('../../../ground/client/backup/layout.ts');
  const { verifyBackup } = await import('../../../ground/client/backup/verify-backup.ts');
  const place = await findBackup(directory, options.at);
  const { manifest, faults } = await verifyBackup(directory, place);
  await invocation.print({ name: place.name, ...factsOf(manifest), faults }, () =>
    faults.length === 0
      ? `${place.name} is whole: ${describe(manifest)}`
      : `${place.name} is damaged:\n  ${faults.join('\n  ')}\nfiles below 'blobs' belong to all backups there: remove those that are damaged, and run 'pilotage backup ${dir}' again, which brings them anew as long as the server has them`,
  );
  return faults.length === 0 ? EXIT.done : EXIT.failed;
}

interface Listed extends Partial<ReturnType<typeof factsOf>> {
  readonly name: string;
  readonly state: 'whole' | 'incomplete' | 'damaged';
  readonly reason?: string;
}

function factsOf({ version, takenAt, identity, counts, lost }: Manifest) {
  return { takenAt, version, withIdentity: identity !== null, ...counts, lost: lost.length };
}

function describe({ counts: { rows, files, bytes } }: Manifest): string {
  return `${plural(rows, 'row')} and ${plural(files, 'file')} (${formatSize(bytes)})`;
}

const COLUMNS: Column<Listed>[] = [
  { title: 'BACKUP', of: ({ name }) => name },
  { title: 'STATE', of: ({ state }) => state },
  { title: 'ROWS', of: ({ rows }) => (rows === undefined ? '' : String(rows)) },
  { title: 'FILES', of: ({ files }) => (files === undefined ? '' : String(files)) },
  { title: 'SIZE', of: ({ bytes }) => (bytes === undefined ? '' : formatSize(bytes)) },
  { title: 'IDENTITY', of: ({ withIdentity }) => (withIdentity === true ? 'yes' : '') },
];
