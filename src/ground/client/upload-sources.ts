import type { Stats } from 'node:fs';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import type { Digest } from '../base/digest.ts';
import { hashBytes } from '../content/hash-file.ts';
import { inLanes } from '../content/in-lanes.ts';
import { directoryPermissions, filePermissions } from '../content/permissions.ts';
import {
  checkKeepable,
  fileEntry,
  HASH_LANES,
  type HashOf,
  type Listed,
  listDirectory,
  toEntry,
} from '../content/scan-directory.ts';
import { formatTree, type TreeEntry, treeSize } from '../content/tree.ts';
import { PACKED_BYTES } from '../protocol/blob-pack.ts';
import type { Piece } from './send-piece.ts';

export interface UploadedFile {
  readonly digest: Digest;
  readonly kind: 'file' | 'tree';
  readonly size: number;
  readonly executable?: boolean;
  readonly permissions?: string;
}

/** What is at one path, and all that has to be at the server for it. */
export interface Source {
  readonly uploaded: UploadedFile;
  readonly pieces: readonly Piece[];
}

/** Files and directories that are to be uploaded: listed, and hashed in two parts. */
export interface Sources {
  /** Bytes of the files that do not travel in packs, as they were listed. */
  readonly largeBytes: number;
  /** The files that travel in packs. */
  small(): Promise<Piece[]>;
  /** All, hashed. */
  all(): Promise<Source[]>;
}

interface Job {
  readonly root: string;
  readonly listed: Listed;
  readonly at: number;
}

/** All files of all directories are hashed in the same few lanes. */
export async function findSources(files: readonly string[], hash: HashOf): Promise<Sources> {
  const found = await Promise.all(files.map(find));
  const entries: TreeEntry[][] = found.map(() => []);
  const jobs = found.flatMap(({ root, listed }, at) => listed.map((one): Job => ({ root, listed: one, at })));
  const hashAll = (some: readonly Job[]) =>
    inLanes(some, HASH_LANES, async ({ root, listed, at }) => {
      entries[at]?.push(await toEntry(root, listed, hash));
    });
  const large = jobs.filter(isLarge);
  let small: Promise<void> | undefined;
  const hashSmall = (): Promise<void> => {
    small ??= hashAll(jobs.filter((job) => !isLarge(job)));
    return small;
  };
  return {
    largeBytes: large.reduce((sum, { listed }) => sum + sizeOf(listed), 0),
    async small() {
      await hashSmall();
      return found.flatMap(({ root }, at) => piecesOf(root, entries[at] ?? []));
    },
    async all() {
      await hashSmall();
      await hashAll(large);
      return found.map(({ root, stats }, at) => toSource(root, stats, entries[at] ?? []));
    },
  };
}

function isLarge({ listed }: Job): boolean {
  return sizeOf(listed) > PACKED_BYTES;
}

function sizeOf(listed: Listed): number {
  return 'size' in listed ? listed.size : 0;
}

/** A file is the only entry of the directory that it is in. */
async function find(file: string): Promise<{ root: string; stats: Stats; listed: readonly Listed[] }> {
  const stats = await stat(file);
  if (stats.isDirectory()) return { root: file, stats, listed: await listDirectory(file) };
  checkKeepable(file, stats);
  return { root: path.dirname(file), stats, listed: [fileEntry(path.basename(file), stats)] };
}

function toSource(root: string, stats: Stats, entries: readonly TreeEntry[]): Source {
  const pieces = piecesOf(root, entries);
  if (stats.isDirectory()) {
    const bytes = Buffer.from(formatTree(entries));
    const list: Piece = { ...hashBytes(bytes), bytes };
    return {
      uploaded: {
        digest: list.digest,
        kind: 'tree',
        size: treeSize({ entries }),
        ...directoryPermissions(stats.mode),
      },
      pieces: [...pieces, list],
    };
  }
  const [{ digest, size }] = pieces as [Piece];
  return { uploaded: { digest, kind: 'file', size, ...filePermissions(stats.mode) }, pieces };
}

function piecesOf(root: string, entries: readonly TreeEntry[]): Piece[] {
  return entries.flatMap((entry): Piece[] =>
    'digest' in entry ? [{ digest: entry.digest, size: entry.size, file: path.join(root, entry.path) }] : [],
  );
}
