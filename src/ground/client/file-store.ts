import type { Readable } from 'node:stream';
import type { Client } from './client.ts';
import type { Patience } from './patience.ts';

/** The blobs of one project, and whom to ask for them. */
export interface FileStore {
  readonly client: Client;
  readonly project: string;
  readonly signal?: AbortSignal;
  /** How long transfers go on trying while no byte moves; 20 s unless given. */
  readonly patience?: Patience;
  /** Another source of bytes than the project's own. */
  readonly open?: (digest: string, how: OpenBlob) => Promise<Readable>;
  /** The bytes of a file are on disk before it has its name. */
  readonly isDurable?: boolean;
}

export interface OpenBlob {
  /** `range`, where bytes are not wanted from the first one on. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

/** From here on a file is sent in a way that can go on where it broke off, and fewer travel side by side. */
export const LARGE_BYTES = 8 * 1024 * 1024;
/** Files that travel side by side. */
export const SMALL_LANES = 16;
export const LARGE_LANES = 4;
/** A transfer that moves no byte for so long has failed. */
export const STALL_SECONDS = 60;

export function signalOf(store: FileStore): { signal?: AbortSignal } {
  return store.signal ? { signal: store.signal } : {};
}
