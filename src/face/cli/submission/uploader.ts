import { realpath } from 'node:fs/promises';
import { type FileStore, uploadPath } from '../../../ground/client/files.ts';
import { type Patience, repeat } from '../repeat.ts';
import type { Upload } from './to-items.ts';

/** Uploads each file once, however many tasks share it. */
export function createUploader(store: FileStore, patience: Patience): Upload {
  const uploads = new Map<string, ReturnType<Upload>>();
  return (file) => {
    const known = uploads.get(file);
    if (known) return known;
    const upload = uploadOne(store, file, patience);
    uploads.set(file, upload);
    return upload;
  };
}

async function uploadOne(store: FileStore, file: string, patience: Patience): ReturnType<Upload> {
  const { digest, kind, executable } = await repeat(async () => uploadPath(store, await realpath(file)), patience);
  return { digest, kind, ...(executable ? { executable } : {}) };
}
