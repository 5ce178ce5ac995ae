import { createWriteStream } from 'node:fs';
import { lstat, open, readdir, readlink, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { create } from 'tar';
import yazl from 'yazl';

export type JobballFormat = 'zip' | 'tar';

/** What a jobball holds: one directory of files, with its record beside them. */
export const RECORD_NAME = 'record.json';
export const PROJECT_NAME = 'project';

/** Large enough to be worth their place in memory is nothing: files are streamed. */
const COMPRESS_BELOW = 64 * 1024 * 1024;

/**
 * Packs all that `directory` holds (`record.json` and `project/`), permissions and relative links kept. The file appears
 * whole or not at all.
 */
export async function packJobball(directory: string, file: string, format: JobballFormat): Promise<void> {
  const part = `${file}.part`;
  if (format === 'zip') await zip(directory, part);
  else await create({ cwd: directory, file: part, gzip: { level: 1 }, portable: true }, await readdir(directory));
  const handle = await open(part, 'r+');
  await handle.sync().finally(() => handle.close());
  await rename(part, file);
}

async function zip(directory: string, file: string): Promise<void> {
  const archive = new yazl.ZipFile();
  await addAll(archive, directory, '');
  archive.end();
  await pipeline(archive.outputStream, createWriteStream(file, { mode: 0o600 }));
}

async function addAll(archive: yazl.ZipFile, root: string, below: string): Promise<void> {
  const entries = await readdir(path.join(root, below), { withFileTypes: true });
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const name = below === '' ? entry.name : `${below}/${entry.name}`;
    const at = path.join(root, name);
    const { mode, size, mtime } = await lstat(at);
    if (entry.isDirectory()) {
      archive.addEmptyDirectory(`${name}/`, { mode, mtime });
      await addAll(archive, root, name);
    } else if (entry.isSymbolicLink()) archive.addBuffer(Buffer.from(await readlink(at)), name, { mode, mtime });
    else archive.addFile(at, name, { mode, mtime, compress: size < COMPRESS_BELOW });
  }
}

/** Lays out what is to be packed. */
export async function writeRecord(directory: string, record: object): Promise<void> {
  await writeFile(path.join(directory, RECORD_NAME), JSON.stringify(record), { mode: 0o600 });
}

/** All names that it will hold. */
export async function namesIn(directory: string): Promise<string[]> {
  const found = await readdir(directory, { recursive: true });
  return found.sort();
}
