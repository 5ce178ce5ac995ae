import type { Log } from '../../../ground/base/log.ts';
import type { ViewLimits } from './limits.ts';

/** A document as a view sees it: JSON text with _id and _rev, or null: deleted. */
export interface Changed {
  readonly id: string;
  readonly json: string | null;
}

export interface Changes {
  readonly changes: readonly Changed[];
  /** Where to go on; opaque. */
  readonly position: string;
  readonly more: boolean;
  /** Numbers of changes: how far this page comes, and how far they went when it was read. */
  readonly at?: number;
  readonly newest?: number;
}

/**
 * Reads what changed in a database after a position ('' is the beginning), oldest first, each document at most once a
 * page, in its newest state. Must see everything committed before the call. The same change may come twice.
 */
export type ReadChanges = (database: string, after: string) => Promise<Changes>;

/** CouchDB's parameters of a view, parsed. `undefined` is the parameter left out; a `null` key is the key null. */
export interface ViewQuery {
  readonly key?: unknown;
  readonly keys?: readonly unknown[];
  readonly startKey?: unknown;
  readonly endKey?: unknown;
  readonly startKeyDocId?: string;
  readonly endKeyDocId?: string;
  readonly inclusiveEnd?: boolean;
  readonly descending?: boolean;
  readonly limit?: number;
  readonly skip?: number;
  readonly reduce?: boolean;
  readonly group?: boolean;
  readonly groupLevel?: number;
  /** False: answered from what is there, without waiting for changes. */
  readonly update?: boolean;
  readonly updateSeq?: boolean;
}

export interface MapRow {
  readonly id: string;
  readonly key: unknown;
  readonly value: unknown;
}

export interface ReducedRow {
  readonly key: unknown;
  readonly value: unknown;
}

export interface MapResult {
  readonly totalRows: number;
  readonly offset: number;
  readonly rows: readonly MapRow[];
  readonly position: string;
}

export interface ReducedResult {
  readonly rows: readonly ReducedRow[];
  readonly position: string;
}

export type ViewResult = MapResult | ReducedResult;

export interface DesignText {
  /** `_design/x`. */
  readonly id: string;
  readonly language?: string;
  /** `lib` may hold CommonJS modules instead, for `require('views/lib/…')`. */
  readonly views: Readonly<Record<string, { readonly map?: string; readonly reduce?: string }>>;
  readonly options?: unknown;
}

/** A Mango query. `fields` and `sort` as in CouchDB; any bookmark, index or statistics is the caller's affair. */
export interface FindRequest {
  readonly selector: object;
  readonly fields?: readonly string[];
  readonly sort?: ReadonlyArray<string | Readonly<Record<string, 'asc' | 'desc'>>>;
  readonly limit?: number;
  readonly skip?: number;
}

/**
 * The views of all databases. Errors that CouchDB's clients know carry its answer in `details.couch`
 * ({ status, error, reason }): a missing view, parameters that do not fit, a spoiled function, a bad selector.
 */
export interface Views {
  /** Answers from an index that has seen everything committed before the call, unless `update` is false. */
  query(
    database: string,
    design: DesignText,
    view: string,
    query: ViewQuery,
    signal?: AbortSignal,
  ): Promise<ViewResult>;
  /**
   * Looks through all documents but design documents, in the order of their ids unless `sort` says otherwise. No
   * index helps it: it reads a copy of the documents that is kept beside the indexes, 100,000 in about a second.
   * As in CouchDB, documents without a field that is sorted by are left out.
   */
  find(database: string, request: FindRequest, signal?: AbortSignal): Promise<{ docs: object[] }>;
  /** Drops what is kept of a database. */
  forget(database: string): Promise<void>;
  close(): Promise<void>;
}

export interface ViewsOptions {
  /** Made if missing. What it holds are copies: it may be removed while the server is down. */
  readonly directory: string;
  readonly readChanges: ReadChanges;
  readonly log: Log;
  readonly limits?: Partial<ViewLimits>;
}
