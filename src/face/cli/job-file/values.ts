import { messageOf, PilotageError } from '../../../ground/base/errors.ts';
import { hintOf } from '../nearest.ts';
import { type Entry, failAt, type Located } from './located.ts';

/** Readers of single values: each says at its place what it wanted and what is there. */

export function asText(node: Located): string {
  if (node.kind === 'scalar' && node.value !== null) return node.text;
  throw unexpected(node, 'a text');
}

export function asInteger(node: Located, least = 0): number {
  if (
    node.kind === 'scalar' &&
    typeof node.value === 'number' &&
    Number.isSafeInteger(node.value) &&
    node.value >= least
  )
    return node.value;
  throw unexpected(
    node,
    least === 0
      ? 'a whole number, 0 or more'
      : Number.isFinite(least)
        ? `a whole number, ${least} or more`
        : 'a whole number',
  );
}

export function asNumber(node: Located): number {
  if (node.kind === 'scalar' && typeof node.value === 'number' && Number.isFinite(node.value)) return node.value;
  throw unexpected(node, 'a number');
}

export function asBoolean(node: Located): boolean {
  if (node.kind === 'scalar' && typeof node.value === 'boolean') return node.value;
  throw unexpected(node, 'true or false');
}

/** A value that is written as text with a unit, read by `parse`, whose error is told with its place. */
export function asParsed<T>(node: Located, parse: (text: string) => T): T {
  const text = asText(node);
  return at(node, () => parse(text));
}

/** What fails in `act` fails at this place. */
export function at<T>(node: Located, act: () => T): T {
  try {
    return act();
  } catch (error) {
    if (!(error instanceof PilotageError)) throw error;
    throw failAt(node.at, messageOf(error), error.code);
  }
}

export function asList(node: Located, what = 'a list'): readonly Located[] {
  if (node.kind === 'list') return node.items;
  throw unexpected(node, what);
}

/** A list, or one thing in its place. */
export function asListOrOne(node: Located): readonly Located[] {
  return node.kind === 'list' ? node.items : [node];
}

export function asMap(node: Located, what = 'keys with values'): readonly Entry[] {
  if (node.kind === 'map') return node.entries;
  throw unexpected(node, what);
}

/** Reads each key with its reader; a key that has none is an error that names the nearest one that has. */
export function readKeys<T>(
  node: Located,
  readers: Readonly<Record<string, (value: Located) => Partial<T>>>,
  what: string,
): Partial<T> {
  let all: Partial<T> = {};
  for (const { key, keyAt, value } of asMap(node, what)) {
    const read = Object.hasOwn(readers, key) ? readers[key] : undefined;
    if (!read) throw failAt(keyAt, `unknown key '${key}'${hintOf(key, Object.keys(readers))}`);
    all = { ...all, ...read(value) };
  }
  return all;
}

/** The plain value, as a payload carries it. */
export function toPlain(node: Located): unknown {
  if (node.kind === 'list') return node.items.map(toPlain);
  if (node.kind === 'map') return Object.fromEntries(node.entries.map(({ key, value }) => [key, toPlain(value)]));
  if (typeof node.value === 'number' && !Number.isFinite(node.value))
    throw failAt(node.at, `'${node.text}' is not a number that can be sent`);
  return node.value;
}

export function unexpected(node: Located, wanted: string): PilotageError {
  return failAt(node.at, `expected ${wanted}, but here is ${describe(node)}`);
}

function describe(node: Located): string {
  if (node.kind === 'list') return 'a list';
  if (node.kind === 'map') return 'a map (keys with values)';
  if (node.value === null) return 'nothing';
  const shown = node.text.length > 40 ? `${node.text.slice(0, 40)}…` : node.text;
  return typeof node.value === 'string' ? `the text '${shown}'` : `'${shown}'`;
}
