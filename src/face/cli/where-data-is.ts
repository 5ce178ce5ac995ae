/** Where a server keeps its data, as `serve` and `restore` are told. */
import path from 'node:path';
import { PilotageError } from '../../ground/base/errors.ts';
import type { S3Access } from './s3-file.ts';
import { readSecretFile } from './secret-file.ts';

export interface DatabaseOptions {
  readonly database?: string;
  readonly databaseFile?: string;
  readonly blobs?: string;
  readonly s3File?: string;
}

/** Whoever lists the processes of a machine reads their arguments: a password never stands there. */
export function findDatabase(
  { database, databaseFile }: DatabaseOptions,
  env: Readonly<Record<string, string | undefined>>,
): string | undefined {
  if (database !== undefined && databaseFile !== undefined)
    throw new PilotageError('bad-request', 'give --database or --database-file: not both');
  if (databaseFile !== undefined) return checkUrl(readSecretFile(databaseFile, 'database'));
  const url = database ?? (env.PILOTAGE_DATABASE || undefined);
  if (url === undefined) return undefined;
  if (database !== undefined && database !== env.PILOTAGE_SERVE_DATABASE && holdsPassword(database)) {
    throw new PilotageError(
      'bad-request',
      'a password on the command line or in a configuration file can be read by everybody on this machine: put the URL into the variable PILOTAGE_DATABASE, or into a file of mode 0600 for --database-file',
    );
  }
  return checkUrl(url);
}

function holdsPassword(url: string): boolean {
  if (!URL.canParse(url)) return /password|:[^/@]+@/i.test(url);
  const parsed = new URL(url);
  return parsed.password !== '' || [...parsed.searchParams.keys()].some((key) => /password/i.test(key));
}

function checkUrl(url: string): string {
  const protocol = URL.canParse(url) ? new URL(url).protocol : '';
  if (protocol === 'postgres:' || protocol === 'postgresql:') return url;
  throw new PilotageError(
    'bad-request',
    'the database is not a URL of PostgreSQL: write postgres://USER@HOST:PORT/NAME',
  );
}

export function findBlobs(blobs: string | undefined, cwd: string): string | undefined {
  return blobs === undefined || blobs.startsWith('s3://') ? blobs : path.resolve(cwd, blobs);
}

export async function findS3({ blobs, s3File }: DatabaseOptions): Promise<S3Access | undefined> {
  if (s3File === undefined) return undefined;
  if (blobs?.startsWith('s3://') !== true)
    throw new PilotageError('bad-request', '--s3-file goes with --blobs s3://BUCKET/PREFIX: give both');
  return (await import('./s3-file.ts')).readS3File(s3File);
}
