import { realpath } from 'node:fs/promises';
import { PilotageError, systemCode } from '../../../ground/base/errors.ts';
import type { FileStore } from '../../../ground/client/file-store.ts';
import { type UploadedFile, uploadPaths } from '../../../ground/client/upload.ts';
import { openHashCache } from '../../../ground/content/hash-cache.ts';
import { permissionsOf } from '../../../ground/content/permissions.ts';
import type { Upload } from './to-items.ts';

export interface UploaderOptions {
  /** Where digests of files are kept from one command to the next. */
  readonly hashCache?: string;
  /** Told how many of the bytes that have to travel, as far as it is known by now, have been sent. */
  readonly onProgress?: (sent: number, total: number) => void;
}

/** Uploads each file once, however many tasks share it; many files with one question to the server. */
export function createUploader(store: FileStore, { hashCache, onProgress }: UploaderOptions = {}): Upload {
  const uploads = new Map<string, Promise<UploadedFile>>();
  const cache = hashCache === undefined ? undefined : openHashCache(hashCache);
  const addUp = adder(onProgress);
  const uploadAll = async (files: readonly string[]): Promise<UploadedFile[]> => {
    const hashes = await cache;
    const real = await Promise.all(files.map((file) => realpath(file)));
    const uploaded = await uploadPaths(store, real, {
      ...(hashes ? { hash: hashes.hash } : {}),
      onProgress: addUp(),
    }).catch((error: unknown) => Promise.reject(explain(error)));
    await hashes?.save();
    return uploaded;
  };
  return async (files) => {
    const fresh = [...new Set(files)].filter((file) => !uploads.has(file));
    if (fresh.length > 0) {
      const all = uploadAll(fresh);
      for (const [at, file] of fresh.entries())
        uploads.set(
          file,
          all.then((uploaded) => uploaded[at] as UploadedFile),
        );
    }
    const done = await Promise.all(files.map((file) => uploads.get(file) as Promise<UploadedFile>));
    return done.map(({ digest, kind, size, ...how }) => ({
      digest,
      kind,
      ...(kind === 'file' ? { size } : {}),
      ...permissionsOf(how),
    }));
  };
}

/** A file that this user may not read is no fault of ours. */
function explain(error: unknown): unknown {
  if (systemCode(error) !== 'EACCES' && systemCode(error) !== 'EPERM') return error;
  const { path } = error as { path?: string };
  return new PilotageError(
    'bad-request',
    `you may not read ${path === undefined ? 'an input' : `'${path}'`}: ask its owner, or leave it out`,
    {
      cause: error,
    },
  );
}

/** Brings the progress of several groups of files together. */
function adder(onProgress: UploaderOptions['onProgress']): () => (sent: number, total: number) => void {
  const groups: { sent: number; total: number }[] = [];
  return () => {
    const group = { sent: 0, total: 0 };
    groups.push(group);
    return (sent, total) => {
      Object.assign(group, { sent, total });
      onProgress?.(
        groups.reduce((sum, one) => sum + one.sent, 0),
        groups.reduce((sum, one) => sum + one.total, 0),
      );
    };
  };
}
