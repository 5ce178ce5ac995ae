/** What a function of a design document may use. */
export interface ViewLimits {
  readonly memoryBytes: number;
  readonly stackBytes: number;
  /** QuickJS asks every 10,000 loops and calls whether to go on: 10,000 times is about half a second of computing. */
  readonly interruptsPerCall: number;
  /** For work that asks rarely, such as collecting garbage: generous, since a machine may be busy. */
  readonly wallMsPerCall: number;
  readonly rowsPerDocument: number;
  readonly charactersPerDocument: number;
  /** The thread is ended when one call is longer than this without asking. */
  readonly hungAfterMs: number;
  /** The most characters of one answer. */
  readonly charactersPerResult: number;
}

export const VIEW_LIMITS: ViewLimits = {
  memoryBytes: 64 * 1024 * 1024,
  stackBytes: 192 * 1024,
  interruptsPerCall: 10_000,
  wallMsPerCall: 10_000,
  rowsPerDocument: 10_000,
  charactersPerDocument: 8 * 1024 * 1024,
  hungAfterMs: 30_000,
  charactersPerResult: 256 * 1024 * 1024,
};
