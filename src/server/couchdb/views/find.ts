/** Mango queries over all documents. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { PilotageError } from '../../../ground/base/errors.ts';
import { couchError } from './couch-error.ts';
import type { DocumentCopies } from './document-copies.ts';
import { textList } from './map-query.ts';
import { getField, type Matches, type TestPattern, toMatcher, toPath } from './selector.ts';
import { compareBytes, toSortKey } from './sort-key.ts';
import type { FindRequest } from './views.ts';

const PAGE = 500;
const USUAL_LIMIT = 25;

export interface FindPlace {
  readonly copies: DocumentCopies;
  readonly test: TestPattern;
  readonly maxCharacters: number;
}

/** Checked before anything is read. */
export interface Find {
  /** The documents as one JSON text. Other work gets its turn between pages. */
  run(place: Omit<FindPlace, 'test'>): Promise<string>;
}

export function prepareFind(request: FindRequest, test: TestPattern): Find {
  const matches = toMatcher(request.selector, test);
  const sort = readSort(request.sort ?? []);
  const fields = readFields(request.fields);
  const { limit = USUAL_LIMIT, skip = 0 } = request;
  return {
    run: async ({ copies, maxCharacters }) => {
      const text = textList(maxCharacters);
      for await (const json of choose({ copies, matches, sort, limit, skip }))
        text.add(fields ? JSON.stringify(project(JSON.parse(json), fields)) : json);
      return text.end();
    },
  };
}

interface Choice {
  readonly copies: DocumentCopies;
  readonly matches: Matches;
  readonly sort: Sort;
  readonly limit: number;
  readonly skip: number;
}

async function* choose(choice: Choice): AsyncGenerator<string> {
  const { copies, sort, limit, skip } = choice;
  if (sort.paths.length > 0) {
    const ids = await sortedIds(choice);
    for (const id of ids.slice(skip, skip + limit)) yield copies.find(id) ?? '{}';
    return;
  }
  let seen = 0;
  if (limit > 0)
    for await (const { json } of matching(choice)) {
      if (seen++ >= skip) yield json;
      if (seen >= skip + limit) return;
    }
}

interface Found {
  readonly id: string;
  readonly json: string;
  readonly document: unknown;
}

async function* matching({ copies, matches }: Choice): AsyncGenerator<Found> {
  for (let after = ''; ; ) {
    const page = copies.read(after, PAGE);
    for (const { id, json } of page) {
      const document: unknown = JSON.parse(json);
      if (matchesSafely(matches, document)) yield { id, json, document };
    }
    if (page.length < PAGE) return;
    after = page.at(-1)!.id;
    await nextTurn();
  }
}

/** A document that nests deeper than values can be compared matches nothing. */
function matchesSafely(matches: Matches, document: unknown): boolean {
  try {
    return matches(document);
  } catch (error) {
    if (error instanceof PilotageError && error.code === 'too-deep') return false;
    throw error;
  }
}

/** Only ids and keys are held: the documents themselves may be many and long. */
async function sortedIds(choice: Choice): Promise<string[]> {
  const { paths, descending } = choice.sort;
  const found: Array<{ id: string; key: Uint8Array }> = [];
  for await (const { id, document } of matching(choice)) {
    const values = paths.map((path) => getField(document, path));
    if (values.every((value) => value !== undefined)) found.push({ id, key: toSortKey(values) });
  }
  found.sort((a, b) => compareBytes(a.key, b.key) || (a.id < b.id ? -1 : 1));
  if (descending) found.reverse();
  return found.map(({ id }) => id);
}

interface Sort {
  readonly paths: ReadonlyArray<readonly string[]>;
  readonly descending: boolean;
}

function readSort(sort: unknown): Sort {
  if (!Array.isArray(sort)) throw invalidSort('Sort must be an array of sort fields');
  const parts = sort.map((one: unknown): [string, unknown] => {
    if (typeof one === 'string') return [one, 'asc'];
    const entries = typeof one === 'object' && one !== null ? Object.entries(one) : [];
    if (entries.length !== 1) throw invalidSort(`Invalid sort field: ${JSON.stringify(one)}`);
    return entries[0]!;
  });
  const directions = new Set(parts.map(([, direction]) => direction));
  for (const direction of directions)
    if (direction !== 'asc' && direction !== 'desc')
      throw invalidSort(`Invalid sort direction: ${JSON.stringify(direction)}`);
  if (directions.size > 1)
    throw couchError(
      'bad-request',
      400,
      'unsupported_mixed_sort',
      'Sorts currently only support a single direction for all fields.',
    );
  return { paths: parts.map(([name]) => toPath(name)), descending: directions.has('desc') };
}

function invalidSort(reason: string): Error {
  return couchError('bad-request', 400, 'invalid_sort_json', reason);
}

function readFields(fields: unknown): string[][] | undefined {
  if (fields === undefined || fields === 'all_fields') return undefined;
  if (!Array.isArray(fields) || !fields.every((name) => typeof name === 'string'))
    throw couchError('bad-request', 400, 'invalid_fields_json', 'Fields must be an array of strings');
  return fields.length === 0 ? undefined : (fields as string[]).map(toPath);
}

function project(document: unknown, fields: readonly string[][]): object {
  const result: Record<string, unknown> = {};
  for (const path of fields) {
    const value = getField(document, path);
    if (value === undefined) continue;
    let at = result;
    for (const name of path.slice(0, -1)) at = open(at, name);
    put(at, path.at(-1)!, value);
  }
  return result;
}

function open(at: Record<string, unknown>, name: string): Record<string, unknown> {
  const inside = Object.hasOwn(at, name) ? at[name] : undefined;
  if (typeof inside === 'object' && inside !== null) return inside as Record<string, unknown>;
  const made = {};
  put(at, name, made);
  return made;
}

/** Also a field called `__proto__` is a field. */
function put(at: object, name: string, value: unknown): void {
  Object.defineProperty(at, name, { value, writable: true, enumerable: true, configurable: true });
}
