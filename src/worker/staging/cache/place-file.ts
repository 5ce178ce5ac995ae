import { createHash } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import { chmod, copyFile, link, open, readFile, rm } from 'node:fs/promises';
import { systemCode } from '../../../ground/base/errors.ts';
import { fileMode } from '../../../ground/content/permissions.ts';

/** How a blob is wanted in a sandbox. */
export interface Wanted {
  readonly digest: string;
  readonly executable?: boolean | undefined;
  readonly permissions?: string | undefined;
  /** A copy of its own, that the program may write into. */
  readonly writable?: boolean;
}

/**
 * Puts a small file: a copy, verified while it is made, writable. False when the cache's file is not what its name says.
 * What is at `destination` goes; nothing is written through a link there.
 */
export async function placeCopy(file: string, wanted: Wanted, destination: string): Promise<boolean> {
  const bytes = await readFile(file);
  if (createHash('sha256').update(bytes).digest('hex') !== wanted.digest) return false;
  const mode = fileMode(wanted);
  await overwriting(destination, async () => {
    const handle = await open(destination, 'wx', mode);
    try {
      await handle.writeFile(bytes);
      await handle.chmod(mode);
    } finally {
      await handle.close();
    }
  });
  return true;
}

export interface Placer {
  /** Puts a large file whose content is known to be right: shared with the cache where that is safe, else a copy. */
  placeLarge(file: string, wanted: Wanted, destination: string): Promise<'own' | 'linked'>;
}

/** `mayLink`: not for root, whom a mode does not keep from writing through a hard link into the cache. */
export function createPlacer(mayLink: boolean): Placer {
  const cannot = { reflink: false, link: !mayLink };

  const tryReflink = async (file: string, destination: string, mode: number): Promise<boolean> => {
    if (cannot.reflink) return false;
    try {
      const how = constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL;
      await overwriting(destination, () => copyFile(file, destination, how));
      await chmod(destination, mode);
      return true;
    } catch (error) {
      if (isFatal(error)) throw error;
      cannot.reflink = true;
      await rm(destination, { force: true });
      return false;
    }
  };
  const tryLink = async (file: string, wanted: Wanted, destination: string): Promise<boolean> => {
    if (cannot.link || wanted.writable || !mayBeShared(fileMode(wanted))) return false;
    try {
      await overwriting(destination, () => link(file, destination));
      return true;
    } catch (error) {
      // EMLINK is this file's alone: it has as many names as it can have.
      if (isFatal(error)) throw error;
      cannot.link = systemCode(error) !== 'EMLINK';
      return false;
    }
  };

  return {
    placeLarge: async (file, wanted, destination) => {
      const mode = fileMode(wanted);
      if (await tryReflink(file, destination, mode)) return 'own';
      if (await tryLink(file, wanted, destination)) return 'linked';
      await overwriting(destination, () => copyFile(file, destination, constants.COPYFILE_EXCL));
      await chmod(destination, mode);
      return 'own';
    },
  };
}

/** A file of the cache can be read by all, executed by nobody; one that is to be otherwise needs a copy. */
function mayBeShared(mode: number): boolean {
  return (mode & 0o555) === 0o444;
}

/** Faults that another way of placing does not help against. */
function isFatal(error: unknown): boolean {
  const code = systemCode(error) ?? '';
  return ['ENOENT', 'ENOSPC', 'EDQUOT', 'EISDIR', 'ENOTDIR', 'EACCES', 'EIO', 'EROFS', 'EMFILE'].includes(code);
}

async function overwriting(destination: string, put: () => Promise<void>): Promise<void> {
  try {
    await put();
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
    await rm(destination, { force: true });
    await put();
  }
}

/** What makes two looks at a file the same: nobody wrote to it in between, and it is not another one. */
export function looksOf({ ino, size, mtimeMs }: Stats): string {
  return `${ino}/${size}/${mtimeMs}`;
}
