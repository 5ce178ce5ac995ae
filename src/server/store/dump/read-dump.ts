import { PilotageError } from '../../../ground/base/errors.ts';
import { NEWEST_VERSION } from '../migrations.ts';
import type { DumpHead, Row } from './snapshot.ts';

export type DumpEvent =
  | { readonly kind: 'head'; readonly head: DumpHead }
  | {
      readonly kind: 'rows';
      readonly table: string;
      readonly columns: readonly string[];
      readonly rows: readonly Row[];
    }
  | { readonly kind: 'files'; readonly rows: readonly (readonly [digest: string, size: number, gone: number])[] };

/** No row is as long as this: documents are the longest, and travel in requests of at most 32 MiB. */
const LONGEST_LINE = 128 * 1024 * 1024;
const BATCH_ROWS = 1000;
const BATCH_BYTES = 4 * 1024 * 1024;
const NAME = /^[a-z][a-z0-9_]{0,62}$/;

/**
 * Reads a dump, whoever made it: each line is looked at before it is believed. Rejects with `bad-request` where it is
 * not one, and with `incompatible-version` when a newer Pilotage made it. Ends only after the line that says that it is whole.
 */
export async function* readDump(bytes: AsyncIterable<Buffer>): AsyncGenerator<DumpEvent> {
  const reader = createReader();
  for await (const { line, number } of linesOf(bytes)) yield* reader.take(parseLine(line, number), number, line.length);
  yield* reader.end();
}

function createReader() {
  let head: DumpHead | undefined;
  let section: { readonly table: string | null; readonly columns: readonly string[] } | undefined;
  let rows: Row[] = [];
  let size = 0;
  let count = 0;
  let isWhole = false;
  function* flush(): Generator<DumpEvent> {
    if (rows.length > 0 && section) yield toEvent(section, rows);
    rows = [];
    size = 0;
  }
  return {
    *take(value: unknown, number: number, length: number): Generator<DumpEvent> {
      if (isWhole) throw damaged(number, 'something follows after its end');
      if (!head) {
        head = toHead(value, number);
        yield { kind: 'head', head };
      } else if (Array.isArray(value)) {
        rows.push(toRow(value, section, number));
        size += length;
        if (rows.length >= BATCH_ROWS || size >= BATCH_BYTES) yield* flush();
        count += 1;
      } else if (isEnd(value)) {
        if (value.end !== count) throw damaged(number, `${value.end} rows should have come, ${count} did`);
        isWhole = true;
      } else {
        yield* flush();
        section = toSection(value, number);
      }
    },
    *end(): Generator<DumpEvent> {
      if (!isWhole) throw new PilotageError('bad-request', 'the copy of the database breaks off before its end');
      yield* flush();
    },
  };
}

function toEvent(section: { table: string | null; columns: readonly string[] }, rows: readonly Row[]): DumpEvent {
  if (section.table !== null) return { kind: 'rows', table: section.table, columns: section.columns, rows };
  return { kind: 'files', rows: rows as unknown as [string, number, number][] };
}

function toHead(value: unknown, number: number): DumpHead {
  const head = value as DumpHead;
  const isHead =
    isObject(value) &&
    value.dump === 1 &&
    [value.schema, value.at, value.sequence].every((one) => Number.isSafeInteger(one) && (one as number) >= 0) &&
    isObject(value.ids) &&
    Object.values(value.ids).every((one) => Number.isSafeInteger(one) && (one as number) >= 0);
  if (!isHead) throw damaged(number, 'it does not begin as one');
  if (head.schema > NEWEST_VERSION)
    throw new PilotageError(
      'incompatible-version',
      `this copy was made by a newer Pilotage (format ${head.schema}, this one knows ${NEWEST_VERSION}): install that version, or a newer one`,
    );
  return head;
}

function toSection(value: unknown, number: number): { table: string | null; columns: readonly string[] } {
  if (isObject(value) && Array.isArray(value.files)) return { table: null, columns: ['digest', 'size', 'gone'] };
  const { table, columns } = isObject(value) ? value : {};
  const isTable =
    typeof table === 'string' &&
    NAME.test(table) &&
    Array.isArray(columns) &&
    columns.every((column) => typeof column === 'string' && NAME.test(column)) &&
    new Set(columns).size === columns.length;
  if (!isTable) throw damaged(number, 'it names no table');
  return { table, columns: columns as string[] };
}

function toRow(value: unknown[], section: { columns: readonly string[] } | undefined, number: number): Row {
  if (!section || value.length !== section.columns.length) throw damaged(number, 'a row does not fit its table');
  for (const one of value)
    if (one !== null && typeof one !== 'string' && !(typeof one === 'number' && Number.isFinite(one)))
      throw damaged(number, 'a value is none of a database');
  return value as Row;
}

function isEnd(value: unknown): value is { end: number } {
  return isObject(value) && typeof value.end === 'number';
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function parseLine(line: string, number: number): unknown {
  try {
    return JSON.parse(line);
  } catch (error) {
    throw damaged(number, 'it is no JSON', error);
  }
}

function damaged(line: number, what: string, cause?: unknown): PilotageError {
  return new PilotageError('bad-request', `the copy of the database is damaged in line ${line}: ${what}`, { cause });
}

const NEWLINE = 0x0a;

async function* linesOf(bytes: AsyncIterable<Buffer>): AsyncGenerator<{ line: string; number: number }> {
  let kept: Buffer[] = [];
  let length = 0;
  let number = 0;
  for await (const piece of bytes) {
    let from = 0;
    for (let at = piece.indexOf(NEWLINE); at >= 0; at = piece.indexOf(NEWLINE, from)) {
      kept.push(piece.subarray(from, at));
      number += 1;
      yield { line: Buffer.concat(kept).toString('utf8'), number };
      kept = [];
      length = 0;
      from = at + 1;
    }
    kept.push(piece.subarray(from));
    length += piece.length - from;
    if (length > LONGEST_LINE) throw damaged(number + 1, 'it is too long');
  }
  if (length > 0) throw damaged(number + 1, 'it breaks off');
}
