/** The one file that a site gets instead of Node.js and Pilotage. */
export interface WorkerFile {
  /** Here. */
  readonly path: string;
  readonly version: string;
  /** SHA-256. */
  readonly digest: string;
}

/** What an agent needs to send pilots. */
export interface PilotMeans {
  /** The server's address as the agent dials it, which is the pilots' unless something else is said. */
  readonly serverUrl: string;
  readonly fingerprint?: string;
  /** Makes the file when it is first wanted. */
  readonly workerFile?: () => Promise<WorkerFile>;
}
