import type { Readable } from 'node:stream';
import type { Digest } from '../../ground/base/digest.ts';
import { messageOf, PilotageError, systemCode } from '../../ground/base/errors.ts';

export function notHere(digest: Digest): PilotageError {
  return new PilotageError(
    'not-found',
    `the bytes ${digest} are not in this server's store any more: was it moved, or emptied? Submitting a file with these bytes once more brings them back`,
  );
}

export function mismatch(digest: Digest, found: string): PilotageError {
  return new PilotageError(
    'digest-mismatch',
    `the bytes sent as ${digest} have the digest ${found}: the file changed while it was read, or the connection damaged it. Send it again`,
  );
}

/** What went wrong while `bytes` were written into `directory`. */
export function toUploadError(error: unknown, bytes: Readable, directory: string): PilotageError {
  if (error instanceof PilotageError || isFull(error)) return toStorageError(error, directory);
  if (bytes.errored !== null || systemCode(error) === 'ERR_STREAM_PREMATURE_CLOSE') {
    return new PilotageError('bad-request', 'the upload broke off before its end: send the rest', { cause: error });
  }
  return toStorageError(error, directory);
}

export function toStorageError(error: unknown, place: string): PilotageError {
  if (error instanceof PilotageError) return error;
  if (isFull(error))
    return new PilotageError(
      'storage-full',
      `the disk of ${place} is full: nothing of this upload was kept. Make room, then try again`,
      { cause: error },
    );
  return new PilotageError('storage-failed', `the server could not use its store ${place} (${messageOf(error)})`, {
    cause: error,
  });
}

function isFull(error: unknown): boolean {
  return systemCode(error) === 'ENOSPC' || systemCode(error) === 'EDQUOT';
}
