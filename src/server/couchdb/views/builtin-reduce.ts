/** CouchDB's reduce functions that need no JavaScript (src/couch/src/couch_query_servers.erl of apache/couchdb). */
import type { PilotageError } from '../../../ground/base/errors.ts';
import { couchError } from './couch-error.ts';
import type { StoredRow } from './index-rows.ts';

export interface Reducer {
  add(row: StoredRow): void;
  /** The value as a JSON text. */
  end(): string;
}

const SUM_ERROR =
  'The _sum function requires that map values be numbers, arrays of numbers, or objects. Objects cannot be mixed with other data structures. Objects can be arbitrarily nested, provided that the values for all fields are themselves numbers, arrays of numbers, or objects.';

/** Undefined: not the name of a function that is built in. */
export function builtinReducer(name: string): (() => Reducer) | undefined {
  if (!name.startsWith('_')) return undefined;
  const made = { _count: count, _sum: sum, _stats: stats, _approx_count_distinct: countDistinct }[name];
  if (made) return made;
  throw couchError(
    'bad-spec',
    400,
    'invalid_design_doc',
    `\`${name}\` is not a supported reduce function: there are _count, _sum, _stats and _approx_count_distinct`,
  );
}

function count(): Reducer {
  let rows = 0;
  return { add: () => void rows++, end: () => String(rows) };
}

/** Counted exactly: the views of a pool have few keys. */
function countDistinct(): Reducer {
  let keys = 0;
  let last: Uint8Array | undefined;
  return {
    add: ({ sortKey }) => {
      if (!last || Buffer.compare(last, sortKey) !== 0) keys++;
      last = sortKey;
    },
    end: () => String(keys),
  };
}

type Sum = number | number[] | { [name: string]: Sum };

function sum(): Reducer {
  let total: Sum = 0;
  return {
    add: ({ value }) => {
      total = plus(total, JSON.parse(value));
    },
    end: () => JSON.stringify(total),
  };
}

function plus(total: Sum, value: unknown): Sum {
  if (typeof value === 'number' && typeof total === 'number') return total + value;
  if (isNumberOrList(value) && isNumberOrList(total)) return plusLists([total].flat(), [value].flat());
  if (!isObject(value) || (!isObject(total) && total !== 0)) throw reduceError(SUM_ERROR);
  const sums = new Map(Object.entries(total === 0 ? {} : (total as { [name: string]: Sum })));
  for (const [name, part] of Object.entries(value)) {
    const before = sums.get(name);
    sums.set(name, before === undefined ? checkedSum(part) : plus(before, part));
  }
  return Object.fromEntries([...sums].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function checkedSum(value: unknown): Sum {
  return plus(isObject(value) ? 0 : Array.isArray(value) ? [] : 0, value);
}

function isNumberOrList(value: unknown): value is number | number[] {
  return typeof value === 'number' || (Array.isArray(value) && value.every((one) => typeof one === 'number'));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function plusLists(a: readonly number[], b: readonly number[]): number[] {
  return Array.from({ length: Math.max(a.length, b.length) }, (_, at) => (a[at] ?? 0) + (b[at] ?? 0));
}

interface Stats {
  readonly sum: number;
  readonly count: number;
  readonly min: number;
  readonly max: number;
  readonly sumsqr: number;
}

function stats(): Reducer {
  let all: Stats | Stats[] | undefined;
  return {
    add: ({ value }) => {
      const next = toStats(JSON.parse(value));
      all = all === undefined ? next : together(all, next);
    },
    end: () => JSON.stringify(all ?? { sum: 0, count: 0, min: 0, max: 0, sumsqr: 0 }),
  };
}

/** Numbers, lists of numbers, and statistics that a map function worked out itself. */
function toStats(value: unknown): Stats | Stats[] {
  if (Array.isArray(value)) return value.map((one) => toStats(one) as Stats);
  if (typeof value === 'number') return { sum: value, count: 1, min: value, max: value, sumsqr: value * value };
  if (!isObject(value)) throw statsError(value);
  const { sum, count, min, max, sumsqr } = value;
  for (const part of [sum, count, min, max, sumsqr]) if (typeof part !== 'number') throw statsError(value);
  return { sum, count, min, max, sumsqr } as Stats;
}

function together(a: Stats | Stats[], b: Stats | Stats[]): Stats | Stats[] {
  if (Array.isArray(a) && Array.isArray(b) && a.length === b.length)
    return a.map((one, at) => together(one, b[at]!) as Stats);
  if (Array.isArray(a) || Array.isArray(b)) throw statsError(b);
  return {
    sum: a.sum + b.sum,
    count: a.count + b.count,
    min: Math.min(a.min, b.min),
    max: Math.max(a.max, b.max),
    sumsqr: a.sumsqr + b.sumsqr,
  };
}

function statsError(value: unknown): PilotageError {
  return reduceError(
    `The _stats function requires that map values be numbers or arrays of numbers, not '${JSON.stringify(value).slice(0, 100)}'`,
  );
}

function reduceError(reason: string): PilotageError {
  return couchError('bad-spec', 500, 'builtin_reduce_error', reason);
}
