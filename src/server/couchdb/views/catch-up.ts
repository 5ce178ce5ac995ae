/**
 * Lets many queries share the reading of changes, and yet lets each see what was committed before it came: a query that
 * comes while pages are read is satisfied by a last page that was asked for after it came.
 */
export interface CatchUp {
  /** Resolves when everything committed before the call is in. Rejects when a page fails; the next call tries again. */
  run(): Promise<void>;
}

interface Waiting {
  readonly ticket: number;
  readonly done: PromiseWithResolvers<void>;
}

/** Numbers of changes: how far a page came, and how far they went when it was read. Without them all is read that comes. */
export interface Page {
  readonly more: boolean;
  readonly at?: number;
  readonly newest?: number;
}

/** `readPage` asks for one page of changes and takes it in. Who writes faster than is read keeps nobody waiting for ever. */
export function createCatchUp(readPage: () => Promise<Page>): CatchUp {
  let ticket = 0;
  let running = false;
  let waiting: Waiting[] = [];

  async function work(): Promise<void> {
    running = true;
    try {
      while (waiting.length > 0) {
        const seen = ticket;
        let page = await readPage();
        const goal = page.newest ?? Number.POSITIVE_INFINITY;
        while (page.more && (page.at ?? 0) < goal) page = await readPage();
        const satisfied = waiting.filter((one) => one.ticket <= seen);
        waiting = waiting.filter((one) => one.ticket > seen);
        for (const one of satisfied) one.done.resolve();
      }
    } catch (error) {
      const failed = waiting;
      waiting = [];
      for (const one of failed) one.done.reject(error);
    } finally {
      running = false;
    }
  }

  return {
    run: () => {
      const done = Promise.withResolvers<void>();
      waiting.push({ ticket: ++ticket, done });
      if (!running) void work();
      return done.promise;
    },
  };
}
