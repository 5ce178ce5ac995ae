/** How long a copy may take of the server's patience. In milliseconds. */
export interface CopySettings {
  /** Files are held for so long after the last sign of whoever copies them. */
  readonly holdMs: number;
  /** A database that is copied and not read on for so long is let go: it cannot clean up meanwhile. */
  readonly stallMs: number;
  /** The same, however fast it is read. */
  readonly longestMs: number;
}

export const DEFAULT_COPY_SETTINGS: CopySettings = { holdMs: 300_000, stallMs: 30_000, longestMs: 7_200_000 };
