/** How much a copy may take of the server's patience. Times in milliseconds. */
export interface CopySettings {
  /** Files are held for so long after the last sign of whoever copies them. */
  readonly holdMs: number;
  /** A database that is copied and not read on for so long is let go: it cannot clean up meanwhile. */
  readonly stallMs: number;
  /** The same, however fast it is read. */
  readonly longestMs: number;
  /** An export is over after so long, however often something of it is asked for. Backups are administrators' business. */
  readonly longestExportMs: number;
  /** Exports of one user that may be under way at once. */
  readonly exportsOfUser: number;
  /** Copies of the database that are read at once at one server; see `Readings`. */
  readonly readings: number;
}

export const DEFAULT_COPY_SETTINGS: CopySettings = {
  holdMs: 300_000,
  stallMs: 30_000,
  longestMs: 7_200_000,
  longestExportMs: 259_200_000,
  exportsOfUser: 2,
  readings: 4,
};
