/** CouchDB's parameters of a view as ranges of rows (src/couch_mrview of apache/couchdb is the measure). */
import { queryParseError } from './couch-error.ts';
import type { Bound, RowRange } from './index-rows.ts';
import { compareBytes, toSortKey } from './sort-key.ts';
import type { ViewQuery } from './views.ts';

/** The ranges to read one after another: one for each of `keys`, else one. */
export function toRanges(view: number, query: ViewQuery): RowRange[] {
  if (query.keys === undefined) return [toRange(view, query)];
  if (query.key !== undefined || query.startKey !== undefined || query.endKey !== undefined)
    throw queryParseError('`keys` is incompatible with `key`, `start_key` and `end_key`');
  return query.keys.map((key) => toRange(view, { key: key ?? null, descending: query.descending ?? false }));
}

function toRange(view: number, query: ViewQuery): RowRange {
  const { key, descending = false, inclusiveEnd = true } = query;
  const start = toBound(key === undefined ? query.startKey : key, query.startKeyDocId, true);
  const end = toBound(key === undefined ? query.endKey : key, query.endKeyDocId, inclusiveEnd);
  if (start && end) refuseBackwards(start, end, descending);
  const [lower, upper] = descending ? [end, start] : [start, end];
  return { view, ...(lower && { lower }), ...(upper && { upper }) };
}

/** Without a document a bound takes in, or leaves out, all rows of its key. */
function toBound(key: unknown, document: string | undefined, inclusive: boolean): Bound | undefined {
  if (key === undefined) return undefined;
  return { sortKey: toSortKey(key), inclusive, ...(document !== undefined && { document }) };
}

function refuseBackwards(start: Bound, end: Bound, descending: boolean): void {
  const order = compareBytes(start.sortKey, end.sortKey) || compareDocuments(start.document, end.document);
  if (descending ? order >= 0 : order <= 0) return;
  throw queryParseError(
    `No rows can match your key range, reverse your start_key and end_key or set descending=${!descending}`,
  );
}

function compareDocuments(start: string | undefined, end: string | undefined): number {
  if (start === undefined || end === undefined) return 0;
  return Buffer.compare(Buffer.from(start), Buffer.from(end));
}

/** The rows that come before a range in the order of reading. */
export function before(range: RowRange, descending: boolean): RowRange | undefined {
  const bound = descending ? range.upper : range.lower;
  if (!bound) return undefined;
  const rest = { ...bound, inclusive: !bound.inclusive };
  return descending ? { view: range.view, lower: rest } : { view: range.view, upper: rest };
}
