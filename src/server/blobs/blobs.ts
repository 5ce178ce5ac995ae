import type { Blobs } from './blob-store.ts';
import { openDirectoryBlobs } from './directory-blobs.ts';
import type { S3Options } from './s3-blobs.ts';

export type { Blobs, Received, Upload } from './blob-store.ts';

/** Opens the store at `place`: a directory, or `s3://bucket/prefix`, for which the options are. */
export async function openBlobs(place: string, options: S3Options = {}): Promise<Blobs> {
  if (!place.startsWith('s3://')) return openDirectoryBlobs(place);
  const { openS3Blobs } = await import('./s3-blobs.ts');
  return openS3Blobs(place, options);
}
