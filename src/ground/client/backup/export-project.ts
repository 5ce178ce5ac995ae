import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { ZipFile } from 'yazl';
import { PilotageError } from '../../base/errors.ts';
import type { Manifest } from '../../protocol/backup.ts';
import type { Client } from '../client.ts';
import type { Patience } from '../patience.ts';
import { backupCalls } from './calls.ts';
import { type CopySource, copyDatabase } from './copy-database.ts';
import { batchesOf, fetchFile } from './copy-files.ts';
import { DATABASE, FILES, MANIFEST, sizeOf, sync } from './layout.ts';
import { describeFile } from './manifest.ts';
import { markLost } from './mark-lost.ts';
import { toTargetError } from './target-error.ts';

export interface ExportWish {
  readonly client: Client;
  readonly project: string;
  /** A zip file; it must not be there. */
  readonly file: string;
  readonly patience?: Patience;
  readonly onProgress: (done: { files: number }, total: number) => void;
}

/**
 * Writes a project into one file, which appears when it is whole:
 *
 *   files.txt  blobs/<SHA-256>…  database.jsonl.gz  manifest.json
 */
export async function exportProject(wish: ExportWish): Promise<Manifest> {
  const { client, project, file } = wish;
  if ((await sizeOf(file)) !== undefined)
    throw new PilotageError('already-exists', `'${file}' is there already: give another name, or remove it first`);
  try {
    const work = await mkdtemp(path.join(path.dirname(file), '.export-'));
    try {
      const { id, version, at } = await client.call(backupCalls.startExport, { params: { project } });
      const source = { client, id, ...(wish.patience ? { patience: wish.patience } : {}) };
      const manifest = await fill(wish, { work, source, started: { version, at } }).finally(() =>
        client.call(backupCalls.endCopy, { params: { id }, timeoutSeconds: 5 }).catch(() => undefined),
      );
      await sync(path.join(work, 'zip'));
      await rename(path.join(work, 'zip'), file);
      await sync(path.dirname(file));
      return manifest;
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  } catch (error) {
    throw toTargetError(
      error,
      file,
      'the server is not touched by that. Make room, or take another place, and export again',
    );
  }
}

interface Making {
  readonly work: string;
  readonly source: CopySource;
  readonly started: { readonly version: string; readonly at: string };
}

async function fill(wish: ExportWish, { work, source, started }: Making): Promise<Manifest> {
  const at = (name: string): string => path.join(work, name);
  const database = await copyDatabase(source, { database: at(DATABASE), files: at(FILES) });
  const zip = new ZipFile();
  const written = pipeline(zip.outputStream, createWriteStream(at('zip'), { mode: 0o600 }));
  const failed = new Promise<never>((_, reject) => void written.catch(reject));
  failed.catch(() => undefined);
  zip.addFile(at(FILES), FILES, { compress: false });
  const lost: string[] = [];
  let files = 0;
  for await (const batch of batchesOf(at(FILES)))
    for (const { digest } of batch) {
      if (!(await Promise.race([addBlob(zip, source, { digest, file: at('blob') }), failed]))) lost.push(digest);
      files += 1;
      wish.onProgress({ files }, database.files);
    }
  if (lost.length + database.gone.length > 0) {
    await markLost(at(DATABASE), at('rows'), lost);
    await rename(at('rows'), at(DATABASE));
  }
  zip.addFile(at(DATABASE), DATABASE, { compress: false });
  const manifest: Manifest = {
    pilotage: 'project',
    format: 1,
    version: started.version,
    takenAt: started.at,
    project: wish.project,
    database: await describeFile(work, DATABASE),
    files: await describeFile(work, FILES),
    identity: null,
    counts: { rows: database.rows, files: database.files, bytes: database.bytes },
    lost,
  };
  zip.addBuffer(Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`), MANIFEST);
  zip.end();
  await written;
  return manifest;
}

/** One at a time lies beside the archive: what breaks off is fetched on, and verified before it goes in. False: the server lost it. */
async function addBlob(
  zip: ZipFile,
  source: CopySource,
  { digest, file }: { digest: string; file: string },
): Promise<boolean> {
  if (!(await fetchFile(source, digest, file))) return false;
  const size = (await sizeOf(file)) ?? 0;
  const bytes = createReadStream(file);
  const read = once(bytes, 'close');
  zip.addReadStream(bytes, `blobs/${digest}`, { size, compress: false, mode: 0o100600 });
  await read;
  await rm(file);
  return true;
}
