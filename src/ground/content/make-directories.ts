import { mkdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { systemCode } from '../base/errors.ts';

/**
 * A directory with those above it, also where none can be made: Node.js asks some file systems for ever that answer with
 * ENOENT (/proc, say). Resolves with those that were not there before, rejects with what the file system says.
 */
export async function makeDirectories(directory: string, mode = 0o777): Promise<string[]> {
  const wanted = path.resolve(directory);
  try {
    await mkdir(wanted, { mode });
    return [wanted];
  } catch (error) {
    const code = systemCode(error);
    if (code === 'EEXIST' && (await isDirectory(wanted))) return [];
    const above = path.dirname(wanted);
    if (code !== 'ENOENT' || above === wanted || (await isDirectory(above))) throw error;
    return [...(await makeDirectories(above, mode)), ...(await makeDirectories(wanted, mode))];
  }
}

async function isDirectory(place: string): Promise<boolean> {
  return stat(place).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
