import type { Readable } from 'node:stream';
import type { Digest } from '../../ground/base/digest.ts';

/** Bytes of one upload. `id` names it: the same for each try to bring these bytes, different for each file that is sent. */
export interface Upload {
  readonly digest: Digest;
  readonly id: string;
  /** Where the bytes begin: 0, or at most what `received` said. */
  readonly offset: number;
  readonly bytes: Readable;
}

/** Bytes by their SHA-256, shared by all servers of one installation. */
export interface Blobs {
  /**
   * Takes bytes of an upload in. Resolves when the whole blob is here and verified, not yet visible. What arrived
   * before a break is kept for a later call with the same id; an earlier call that still waits for bytes is ended.
   * Rejects with `digest-mismatch` and `storage-full` (then nothing was kept), `bad-request` (it broke off; what came
   * is kept), `wrong-state` (the offset lies beyond what is here).
   */
  receive(upload: Upload): Promise<Received>;
  /** Takes small blobs in, all of them or none: `digest-mismatch` when one is not what its name says. They are kept in memory. */
  receiveWhole(blobs: readonly { readonly digest: Digest; readonly bytes: Buffer }[]): Promise<Received>;
  /** How many bytes of that upload are here. */
  received(digest: Digest, id: string): Promise<number>;
  /** Bytes from `start` on, to the end; `size` is that of the whole. Rejects with `not-found`. */
  get(digest: Digest, start?: number): Promise<{ size: number; bytes: Readable }>;
  /** Idempotent. */
  remove(digest: Digest): Promise<void>;
  /** Removes what broken uploads left and nobody touched for so long. Returns how many. */
  sweep(olderThanMs: number): Promise<number>;
}

/** A blob that is here, whole and verified, but not yet visible. */
export interface Received {
  readonly size: number;
  /** Makes it visible, durably. May be called again: when the blob was removed meanwhile it is there again. */
  place(): Promise<void>;
  /** Removes what was kept for the upload. Call it once the blob is placed, or not wanted. */
  discard(): Promise<void>;
}
