import { open, readFile } from 'node:fs/promises';
import path from 'node:path';
import { messageOf, PilotageError, systemCode } from '../../base/errors.ts';
import { hashFile } from '../../content/hash-file.ts';
import type { Manifest } from '../../protocol/backup.ts';
import { MANIFEST } from './layout.ts';

/** Written whole and durable: it is the last file of a backup. */
export async function writeManifest(directory: string, manifest: Manifest): Promise<void> {
  const file = await open(path.join(directory, MANIFEST), 'wx', 0o600);
  try {
    await file.writeFile(`${JSON.stringify(manifest, null, 2)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
}

export async function readManifest(directory: string): Promise<Manifest> {
  const file = path.join(directory, MANIFEST);
  try {
    return await parseManifest(await readFile(file, 'utf8'), file);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
    throw new PilotageError('wrong-state', `'${directory}' is no backup: it has no ${MANIFEST}, which is written last`);
  }
}

export async function parseManifest(text: string, where: string): Promise<Manifest> {
  // Loaded by those who read one only: what checks schemas takes a fifth of a second.
  const [{ Check }, protocol] = await Promise.all([import('typebox/schema'), import('../../protocol/backup.ts')]);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new PilotageError('bad-request', `'${where}' is damaged: ${messageOf(error)}`, { cause: error });
  }
  if (isNewer(value))
    throw new PilotageError(
      'incompatible-version',
      `'${where}' was made by a newer Pilotage: install that version, or a newer one`,
    );
  if (Check(protocol.Manifest, value)) return value as Manifest;
  throw new PilotageError(
    'bad-request',
    `'${where}' is not what describes a backup: it is damaged, or of something else`,
  );
}

function isNewer(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'format' in value && Number(value.format) > 1;
}

export async function describeFile(directory: string, file: string): Promise<Manifest['database']> {
  const { digest, size } = await hashFile(path.join(directory, file));
  return { file, size, sha256: digest };
}
