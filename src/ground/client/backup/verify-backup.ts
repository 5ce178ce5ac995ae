import path from 'node:path';
import { PilotageError } from '../../base/errors.ts';
import { hashFile } from '../../content/hash-file.ts';
import { inLanes } from '../../content/in-lanes.ts';
import type { Manifest } from '../../protocol/backup.ts';
import { batchesOf } from './copy-files.ts';
import { type BackupPlace, blobPath, sizeOf } from './layout.ts';
import { readManifest } from './manifest.ts';

export interface Verified {
  readonly manifest: Manifest;
  /** What is wrong, at most so many of them; empty: nothing. */
  readonly faults: readonly string[];
}

const LANES = 4;
const MOST_FAULTS = 100;

/** Looks at every byte of a backup. */
export async function verifyBackup(
  directory: string,
  place: BackupPlace,
  onFile: (done: number, total: number) => void = () => {},
): Promise<Verified> {
  const manifest = await readManifest(place.path);
  const faults: string[] = [];
  for (const part of [manifest.database, manifest.files, manifest.identity])
    if (part) faults.push(...(await faultsOf(path.join(place.path, part.file), part)));
  if (faults.length > 0) return { manifest, faults };
  const lost = new Set(manifest.lost);
  let done = 0;
  const look = async ({ digest, size }: { digest: string; size: number }): Promise<void> => {
    if (!lost.has(digest) && faults.length < MOST_FAULTS)
      faults.push(...(await faultsOf(blobPath(directory, digest), { sha256: digest, size })));
    done += 1;
    onFile(done, manifest.counts.files);
  };
  for await (const batch of batchesOf(path.join(place.path, manifest.files.file))) await inLanes(batch, LANES, look);
  if (done !== manifest.counts.files)
    faults.push(`${manifest.files.file} lists ${done} files, not ${manifest.counts.files}`);
  return { manifest, faults };
}

/** Refuses a backup that is not as it was made. */
export function requireSound(place: BackupPlace, { faults }: Verified): void {
  if (faults.length === 0) return;
  throw new PilotageError(
    'digest-mismatch',
    `the backup ${place.name} is damaged, and nothing was done with it: ${faults.slice(0, 3).join('; ')}${faults.length > 3 ? `; and ${faults.length - 3} more` : ''}. Take another one, or a copy of this one. A damaged file below 'blobs' is there for all backups: remove it and run 'pilotage backup' again, which brings it anew as long as the server has it`,
  );
}

async function faultsOf(file: string, wanted: { sha256: string; size: number }): Promise<string[]> {
  const size = await sizeOf(file);
  if (size === undefined) return [`'${file}' is missing`];
  if (size !== wanted.size) return [`'${file}' has ${size} bytes, not ${wanted.size}`];
  return (await hashFile(file)).digest === wanted.sha256 ? [] : [`'${file}' is damaged: its SHA-256 is another one`];
}
