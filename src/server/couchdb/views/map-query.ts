import { couchError } from './couch-error.ts';
import type { IndexRows, RowRange, StoredRow } from './index-rows.ts';
import { before } from './key-range.ts';
import type { ViewQuery } from './views.ts';

/** Rows as JSON texts: they cross to the other thread, and are parsed, in one piece. */
export interface MapAnswer {
  readonly totalRows: number;
  readonly offset: number;
  readonly rows: string;
}

export interface Readable {
  readonly rows: IndexRows;
  readonly ranges: readonly RowRange[];
  readonly maxCharacters: number;
}

export function readMap({ rows, ranges, maxCharacters }: Readable, query: ViewQuery, totalRows: number): MapAnswer {
  const { descending = false, limit = Number.MAX_SAFE_INTEGER, skip = 0 } = query;
  const text = textList(maxCharacters);
  let left = { limit, skip };
  for (const range of ranges) {
    if (left.limit <= 0) break;
    left = readRange(rows, range, { descending, left, text });
  }
  return { totalRows, offset: Math.min(totalRows, offsetOf(rows, ranges[0], descending) + skip), rows: text.end() };
}

interface Reading {
  readonly descending: boolean;
  readonly left: { readonly limit: number; readonly skip: number };
  readonly text: TextList;
}

/** What `skip` leaves over after a range is skipped in the next: that is counted only when a range ends early. */
function readRange(rows: IndexRows, range: RowRange, { descending, left, text }: Reading): Reading['left'] {
  let read = 0;
  for (const row of rows.read(range, { descending, ...left })) {
    text.add(toText(row));
    read++;
  }
  if (read > 0 || left.skip === 0) return { limit: left.limit - read, skip: 0 };
  return { limit: left.limit, skip: Math.max(0, left.skip - rows.count(range)) };
}

function offsetOf(rows: IndexRows, range: RowRange | undefined, descending: boolean): number {
  const earlier = range && before(range, descending);
  return earlier ? rows.count(earlier) : 0;
}

function toText({ document, key, value }: StoredRow): string {
  return `{"id":${JSON.stringify(document)},"key":${key},"value":${value}}`;
}

export interface TextList {
  add(text: string): void;
  end(): string;
}

/** A JSON array in the making, which refuses to grow beyond what can be answered. */
export function textList(maxCharacters: number): TextList {
  const texts: string[] = [];
  let characters = 0;
  return {
    add: (text) => {
      characters += text.length + 1;
      if (characters > maxCharacters)
        throw couchError(
          'body-too-large',
          413,
          'too_large',
          `the answer has more than ${maxCharacters} characters: ask for it in parts, with limit and startkey`,
        );
      texts.push(text);
    },
    end: () => `[${texts.join(',')}]`,
  };
}
