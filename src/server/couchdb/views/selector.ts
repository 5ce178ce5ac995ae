/**
 * Mango selectors as CouchDB understands them (src/mango/src/mango_selector.erl of apache/couchdb): a field that is
 * missing satisfies nothing but `$exists: false`; `$not` and `$nor` are pushed down to the comparisons first.
 */
import { couchError } from './couch-error.ts';
import { compareBytes, toSortKey } from './sort-key.ts';

export type Matches = (value: unknown) => boolean;
/** Patterns run where they can do no harm. */
export type TestPattern = (pattern: string, text: string) => boolean;

export function toMatcher(selector: unknown, test: TestPattern): Matches {
  if (!isObject(selector)) throw couchError('bad-request', 400, 'bad_request', 'Selector must be a JSON object');
  if (!isShallow(selector, 0)) throw couchError('bad-request', 400, 'bad_request', 'The selector nests too deep');
  return conditions(selector, { test, negated: false });
}

interface Place {
  readonly test: TestPattern;
  readonly negated: boolean;
}

const DEEPEST_SELECTOR = 50;

function isShallow(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return true;
  return depth < DEEPEST_SELECTOR && Object.values(value).every((part) => isShallow(part, depth + 1));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** All of an object's parts; of none, when what is asked is the contrary: any of the contraries. */
function conditions(selector: Record<string, unknown>, place: Place): Matches {
  const entries = Object.entries(selector);
  if (entries.length === 0) return () => !place.negated;
  return combine(
    entries.map(([name, argument]) => condition(name, argument, place)),
    place.negated ? 'any' : 'all',
  );
}

function combine(all: readonly Matches[], how: 'any' | 'all'): Matches {
  return how === 'all' ? (value) => all.every((one) => one(value)) : (value) => all.some((one) => one(value));
}

function condition(name: string, argument: unknown, place: Place): Matches {
  const { negated } = place;
  const flipped = { ...place, negated: !negated };
  switch (name) {
    case '$and':
      return combine(several(name, argument, place), negated ? 'any' : 'all');
    case '$or':
      return combine(several(name, argument, place), negated ? 'all' : 'any');
    case '$nor':
      return combine(several(name, argument, flipped), negated ? 'any' : 'all');
    case '$not':
      if (!isObject(argument)) throw badArgument(name, argument);
      return conditions(argument, flipped);
  }
  return name.startsWith('$') ? operator(name, argument, place) : field(name, argument, place);
}

function several(name: string, argument: unknown, place: Place): Matches[] {
  if (!Array.isArray(argument)) throw badArgument(name, argument);
  return argument.map((one) => {
    if (!isObject(one)) throw badArgument(name, argument);
    return conditions(one, place);
  });
}

function field(name: string, argument: unknown, place: Place): Matches {
  if (name === '')
    throw couchError('bad-request', 400, 'invalid_selector', 'One or more conditions is missing a field name.');
  const path = toPath(name);
  const inner = isObject(argument) ? nested(argument, place) : operator('$eq', argument, place);
  return (value) => inner(getField(value, path));
}

/** The conditions on a field's value: operators on it, or fields within it. An empty object is itself a value. */
function nested(argument: Record<string, unknown>, place: Place): Matches {
  return Object.keys(argument).length === 0 ? operator('$eq', argument, place) : conditions(argument, place);
}

/** A dot leads inwards, but not one behind a backslash. */
export function toPath(name: string): string[] {
  return name.split(/(?<!\\)\./).map((part) => part.replaceAll('\\.', '.'));
}

export function getField(value: unknown, path: readonly string[]): unknown {
  let found = value;
  for (const name of path) {
    if (Array.isArray(found) && /^\d+$/.test(name)) found = found[Number(name)];
    else if (isObject(found) && Object.hasOwn(found, name)) found = found[name];
    else return undefined;
  }
  return found;
}

function operator(name: string, argument: unknown, place: Place): Matches {
  const make = Object.hasOwn(OPERATORS, name) ? OPERATORS[name] : undefined;
  if (!make) throw couchError('bad-request', 400, 'invalid_operator', `Invalid operator: ${name}`);
  const matches = make(argument, place);
  const { negated } = place;
  if (name === '$exists') return (value) => matches(value) !== negated;
  return (value) => value !== undefined && matches(value) !== negated;
}

const OPERATORS: Record<string, (argument: unknown, place: Place) => Matches> = {
  $lt: (argument) => compared(argument, (order) => order < 0),
  $lte: (argument) => compared(argument, (order) => order <= 0),
  $eq: (argument) => compared(argument, (order) => order === 0),
  $ne: (argument) => compared(argument, (order) => order !== 0),
  $gte: (argument) => compared(argument, (order) => order >= 0),
  $gt: (argument) => compared(argument, (order) => order > 0),
  $in: (argument) => oneOf(list('$in', argument)),
  $nin: (argument) => {
    const inside = oneOf(list('$nin', argument));
    return (value) => !inside(value);
  },
  $exists: (argument) => {
    if (typeof argument !== 'boolean') throw badArgument('$exists', argument);
    return (value) => (value !== undefined) === argument;
  },
  $type: (argument) => {
    if (typeof argument !== 'string') throw badArgument('$type', argument);
    return (value) => typeName(value) === argument;
  },
  $mod: (argument) => {
    const [divisor, rest] = Array.isArray(argument) && argument.length === 2 ? argument : [];
    if (!Number.isInteger(divisor) || !Number.isInteger(rest) || divisor === 0) throw badArgument('$mod', argument);
    return (value) => typeof value === 'number' && Number.isInteger(value) && value % divisor === rest;
  },
  $regex: (argument, { test }) => {
    if (typeof argument !== 'string') throw badArgument('$regex', argument);
    test(argument, '');
    return (value) => typeof value === 'string' && test(argument, value);
  },
  $beginsWith: (argument) => {
    if (typeof argument !== 'string') throw badArgument('$beginsWith', argument);
    return (value) => typeof value === 'string' && value.startsWith(argument);
  },
  $size: (argument) => {
    if (!Number.isInteger(argument) || (argument as number) < 0) throw badArgument('$size', argument);
    return (value) => Array.isArray(value) && value.length === argument;
  },
  $all: (argument) => {
    const wanted = list('$all', argument);
    const each = wanted.map((one) => oneOf([one]));
    const whole =
      wanted.length === 1 && Array.isArray(wanted[0]) ? compared(wanted[0], (order) => order === 0) : undefined;
    return (value) =>
      Array.isArray(value) && (each.every((has) => value.some((one) => has([one]))) || !!whole?.(value));
  },
  $elemMatch: (argument, place) => {
    const inner = within('$elemMatch', argument, place);
    return (value) => Array.isArray(value) && value.some(inner);
  },
  $allMatch: (argument, place) => {
    const inner = within('$allMatch', argument, place);
    return (value) => Array.isArray(value) && value.length > 0 && value.every(inner);
  },
  $keyMapMatch: (argument, place) => {
    const inner = within('$keyMapMatch', argument, place);
    return (value) => isObject(value) && Object.keys(value).some(inner);
  },
};

function within(name: string, argument: unknown, { test }: Place): Matches {
  if (!isObject(argument)) throw badArgument(name, argument);
  return conditions(argument, { test, negated: false });
}

function compared(argument: unknown, fits: (order: number) => boolean): Matches {
  const key = toSortKey(argument);
  return (value) => fits(compareBytes(toSortKey(value), key));
}

/** Of an array, one element suffices. */
function oneOf(wanted: readonly unknown[]): Matches {
  const keys = wanted.map(toSortKey);
  const has = (value: unknown): boolean => {
    const key = toSortKey(value);
    return keys.some((one) => compareBytes(one, key) === 0);
  };
  return (value) => (Array.isArray(value) ? value.some(has) : has(value));
}

function list(name: string, argument: unknown): readonly unknown[] {
  if (!Array.isArray(argument)) throw badArgument(name, argument);
  return argument;
}

function typeName(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'array' : typeof value;
}

function badArgument(name: string, argument: unknown): Error {
  const text = JSON.stringify(argument)?.slice(0, 200);
  return couchError('bad-request', 400, 'bad_arg', `Bad argument for operator ${name}: ${text}`);
}
