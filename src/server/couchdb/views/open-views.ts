import { mkdirSync } from 'node:fs';
import { PilotageError } from '../../../ground/base/errors.ts';
import { VIEW_LIMITS } from './limits.ts';
import { startThread, type ViewsThread } from './start-thread.ts';
import type { MapResult, MapRow, ReducedRow, ViewQuery, ViewResult, Views, ViewsOptions } from './views.ts';

interface Answer {
  readonly rows: string;
  readonly position: string;
  readonly totalRows?: number;
  readonly offset?: number;
}

/**
 * Starts the thread that keeps the views. A function that hangs it is left behind with a thread that is ended; the
 * questions that others had asked are asked again.
 */
export async function openViews(options: ViewsOptions): Promise<Views> {
  const { directory, readChanges, log } = options;
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const limits = { ...VIEW_LIMITS, ...options.limits };
  const thread = await startThread({ directory, limits, readChanges, log });
  return toViews(thread);
}

function toViews(thread: ViewsThread): Views {
  return {
    query: async (database, design, view, query, signal) => {
      refuseBadNumbers(query);
      const question = { kind: 'query', database, design, view, query } as const;
      return toResult((await withSignal(thread.ask(question), signal)) as Answer);
    },
    find: async (database, request, signal) => {
      const text = await withSignal(thread.ask({ kind: 'find', database, request }), signal);
      return { docs: JSON.parse(text as string) as object[] };
    },
    forget: async (database) => {
      await thread.ask({ kind: 'forget', database });
    },
    close: thread.close,
  };
}

function toResult({ rows, position, totalRows, offset }: Answer): ViewResult {
  if (totalRows === undefined || offset === undefined) return { rows: JSON.parse(rows) as ReducedRow[], position };
  return { totalRows, offset, rows: JSON.parse(rows) as MapRow[], position } satisfies MapResult;
}

function refuseBadNumbers({ limit, skip, groupLevel }: ViewQuery): void {
  for (const [name, number] of Object.entries({ limit, skip, group_level: groupLevel })) {
    if (number === undefined || (Number.isSafeInteger(number) && number >= 0)) continue;
    const reason = `Invalid value for ${name}: ${number} is not a whole number of at least 0`;
    throw new PilotageError('bad-request', reason, {
      details: { couch: { status: 400, error: 'query_parse_error', reason } },
    });
  }
}

/** Who goes away does not wait; what was begun serves the next one who asks. */
async function withSignal<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  const gone = Promise.withResolvers<never>();
  const leave = (): void => gone.reject(signal.reason);
  if (signal.aborted) leave();
  signal.addEventListener('abort', leave, { once: true });
  try {
    return await Promise.race([promise, gone.promise]);
  } finally {
    signal.removeEventListener('abort', leave);
    promise.catch(() => undefined);
    gone.promise.catch(() => undefined);
  }
}
