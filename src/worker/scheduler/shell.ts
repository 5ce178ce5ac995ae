/** What a scheduler needs of a machine: a shell there. `Transport` satisfies it. */
export interface Shell {
  /** Runs a script with a POSIX /bin/sh there. Rejects when it is not known how it ended. */
  run(
    script: string,
    options?: { readonly stdin?: string; readonly timeoutMs?: number; readonly signal?: AbortSignal },
  ): Promise<{
    /** Null where a signal ended it and the transport does not count as a shell does. */
    readonly exitCode: number | null;
    readonly stdout: string;
    readonly stderr: string;
    /** There was more output than was kept: nothing may be concluded from what is missing. */
    readonly isCut?: boolean;
  }>;
}
