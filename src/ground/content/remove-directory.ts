import { chmod, lstat, readdir, rm } from 'node:fs/promises';
import path from 'node:path';

/**
 * Removes a directory and all below it, also where directories may not be written to (as a program, or a tree with such
 * modes, left them). Of nothing there it makes nothing. Links are removed, never followed.
 */
export async function removeDirectory(directory: string): Promise<void> {
  const remove = () => rm(directory, { recursive: true, force: true, maxRetries: 2 });
  try {
    await remove();
  } catch {
    await open(directory);
    await remove();
  }
}

async function open(directory: string): Promise<void> {
  const { mode } = await lstat(directory);
  if ((mode & 0o700) !== 0o700) await chmod(directory, 0o700);
  for (const entry of await readdir(directory, { withFileTypes: true }))
    if (entry.isDirectory()) await open(path.join(directory, entry.name));
}
