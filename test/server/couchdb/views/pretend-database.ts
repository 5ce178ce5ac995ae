import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, onTestFinished } from 'vitest';
import { openViews } from '../../../../src/server/couchdb/views/open-views.ts';
import type {
  Changes,
  DesignText,
  MapResult,
  ReadChanges,
  ReducedResult,
  ViewQuery,
  Views,
  ViewsOptions,
} from '../../../../src/server/couchdb/views/views.ts';
import { memoryLog } from '../../../support/memory-log.ts';
import { temporaryDirectory } from '../../../support/temporary-directory.ts';

/** Documents of several databases in an array, with a feed of changes. */
export interface PretendDatabase {
  readonly readChanges: ReadChanges;
  /** How often a page was asked for. */
  readonly pages: { count: number };
  put(id: string, document: object, database?: string): void;
  putJson(id: string, json: string): void;
  remove(id: string, database?: string): void;
}

export function pretendDatabase(pageSize = 1000): PretendDatabase {
  const feeds = new Map<string, Array<{ id: string; json: string | null } | undefined>>();
  const places = new Map<string, number>();
  const pages = { count: 0 };
  const write = (database: string, id: string, json: string | null): void => {
    const feed = feeds.get(database) ?? [];
    feeds.set(database, feed);
    const before = places.get(`${database}/${id}`);
    if (before !== undefined) feed[before] = undefined;
    places.set(`${database}/${id}`, feed.push({ id, json }) - 1);
  };
  return {
    pages,
    put: (id, document, database = 'db') =>
      write(database, id, JSON.stringify({ _id: id, _rev: '1-abc', ...document })),
    putJson: (id, json) => write('db', id, json),
    remove: (id, database = 'db') => write(database, id, null),
    readChanges: (database, after) => {
      pages.count++;
      return Promise.resolve(toPage(feeds.get(database) ?? [], Number(after || 0), pageSize));
    },
  };
}

function toPage(
  feed: ReadonlyArray<{ id: string; json: string | null } | undefined>,
  after: number,
  pageSize: number,
): Changes {
  const changes: Array<{ id: string; json: string | null }> = [];
  let at = after;
  for (; at < feed.length && changes.length < pageSize; at++) {
    const change = feed[at];
    if (change) changes.push(change);
  }
  return { changes, position: String(at), more: at < feed.length };
}

export interface OpenedViews {
  readonly views: Views;
  readonly log: ReturnType<typeof memoryLog>;
  readonly directory: string;
}

/** Views over a pretended database, closed with the test. */
export async function openTestViews(
  database: Pick<PretendDatabase, 'readChanges'>,
  options: Partial<ViewsOptions> = {},
): Promise<OpenedViews> {
  const log = memoryLog();
  const directory = options.directory ?? temporaryDirectory();
  const views = await openViews({ directory, readChanges: database.readChanges, log, ...options });
  onTestFinished(() => views.close());
  return { views, log, directory };
}

export function design(
  views: Record<string, string | { map: string; reduce: string }>,
  id = '_design/test',
): DesignText {
  const entries = Object.entries(views).map(([name, view]) => [name, typeof view === 'string' ? { map: view } : view]);
  return { id, language: 'javascript', views: Object.fromEntries(entries) as DesignText['views'] };
}

let shared: Promise<{ database: PretendDatabase; views: Views }> | undefined;
let asked = 0;

/** One view called 'v' over documents, asked once. */
export async function askOnce(
  documents: Readonly<Record<string, object>>,
  view: string | { map: string; reduce: string },
  query: ViewQuery = {},
): Promise<MapResult & ReducedResult> {
  const { views, name } = await databaseOf(documents);
  return (await views.query(name, design({ v: view }), 'v', query)) as MapResult & ReducedResult;
}

/** A database of its own in the thread that all tests of a file share. */
export async function databaseOf(documents: Readonly<Record<string, object>>): Promise<{ views: Views; name: string }> {
  shared ??= openShared();
  const { database, views } = await shared;
  const name = `db${++asked}`;
  for (const [id, document] of Object.entries(documents)) database.put(id, document, name);
  return { views, name };
}

async function openShared(): Promise<{ database: PretendDatabase; views: Views }> {
  const database = pretendDatabase();
  const directory = mkdtempSync(join(tmpdir(), 'pilotage-test-'));
  const views = await openViews({ directory, readChanges: database.readChanges, log: memoryLog() });
  afterAll(async () => {
    await views.close();
    rmSync(directory, { recursive: true });
  });
  return { database, views };
}

/** The five standard views of a pool of tokens, written anew from what notes on PiCaS say they do. */
export const MONITOR: DesignText = {
  id: '_design/Monitor',
  language: 'javascript',
  views: {
    todo: { map: stateView('doc.lock == 0 && doc.done == 0') },
    locked: { map: stateView('doc.lock > 0 && doc.done == 0') },
    done: { map: stateView('doc.lock > 0 && doc.done > 0 && parseInt(doc.exit_code) == 0') },
    error: { map: stateView('doc.lock > 0 && doc.done > 0 && parseInt(doc.exit_code) != 0') },
    overview_total: {
      map: `function(doc) {
        if (doc.type == "token") {
          if (doc.lock == 0 && doc.done == 0) { emit("todo", 1); }
          if (doc.lock > 0 && doc.done == 0) { emit("locked", 1); }
          if (doc.lock > 0 && doc.done > 0 && parseInt(doc.exit_code) == 0) { emit("done", 1); }
          if (doc.lock > 0 && doc.done > 0 && parseInt(doc.exit_code) != 0) { emit("error", 1); }
        }
      }`,
      reduce: 'function (key, values, rereduce) {\n  return sum(values);\n}',
    },
  },
};

function stateView(condition: string): string {
  return `\nfunction(doc) {\n  if (doc.type == "token") {\n    if (${condition}) {\n      emit(doc._id, doc._id);\n    }\n  }\n}\n`;
}

export function token(fields: object = {}): object {
  return {
    type: 'token',
    lock: 0,
    done: 0,
    hostname: '',
    scrub_count: 0,
    input: 'echo "this is a token"',
    exit_code: '',
    output: {},
    uploads: {},
    error: [],
    ...fields,
  };
}
