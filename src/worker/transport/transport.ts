import type { Readable, Writable } from 'node:stream';
import type { Forward } from './ssh/forward.ts';

/** How a machine is reached. */
export interface Transport {
  /** As the user wrote it, for messages. */
  readonly machine: string;
  /**
   * Runs a POSIX shell script there with /bin/sh, whatever the login shell is; relative names begin at the home
   * directory. Resolves when the script ended, whatever it left behind running. Rejects with a `PilotageError` when it is
   * not known how it ended, or when it could not be started: `mayHaveRun` tells the two apart.
   */
  run(script: string, options?: RunOptions): Promise<CommandResult>;
  /**
   * Brings a file there: under a temporary name, verified, then renamed. What breaks off is resumed. On rejection there
   * is nothing, or the old file, under the name.
   */
  put(local: string, remote: string, options?: TransferOptions): Promise<void>;
  /** Brings a file here, likewise, and flushes it to the disk before it gets its name. */
  get(remote: string, local: string, options?: TransferOptions): Promise<void>;
  /** A piece of a file, for following logs: at most `limit` bytes from `offset`. Undefined if there is no such file. */
  read(remote: string, piece: Piece): Promise<Uint8Array | undefined>;
  /** Connects now if it is not connected, and asks for what that takes. */
  connect(signal?: AbortSignal): Promise<void>;
  /**
   * Leads a port there to an address here, as long as this transport lives, also over connections that come after;
   * resolves with the port. Where there is none, this way to a machine cannot.
   */
  forward?(wanted: Forward): Promise<number>;
  stats(): TransportStats;
  /** Ends connections and what still runs over them. The promises of those commands reject. */
  close(): Promise<void>;
}

export interface RunOptions {
  /** A stream is read as far as the script takes it. */
  readonly stdin?: string | Uint8Array | Readable;
  /** Takes the script's output instead of the result. It is not ended. */
  readonly stdout?: Writable;
  /** No limit unless told. What still runs then is killed with its process group, as far as the machine is reached. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** Kept of each of stdout and stderr: 4 MiB unless told. The rest is thrown away, and a mark says so. */
  readonly maxOutputBytes?: number;
}

export interface CommandResult {
  /** As a shell counts: 128 and the signal's number for a script that a signal ended. */
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Was there more output than was to be kept? */
  readonly isCut: boolean;
}

export interface TransferOptions {
  /** Of the new file: 0600 unless told. */
  readonly mode?: number;
  readonly signal?: AbortSignal;
}

export interface Piece {
  readonly offset: number;
  readonly limit: number;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export interface TransportStats {
  /** Connections that were made, the ended ones too. */
  readonly connections: number;
  /** Scripts that were begun, those of `put`, `get` and `read` too. */
  readonly commands: number;
}
