/**
 * Keys as bytes that compare as CouchDB compares the values: null, false, true, numbers, strings by the root collation,
 * arrays element by element, objects property by property in their order.
 * https://docs.couchdb.org/en/stable/ddocs/views/collation.html
 */
import { PilotageError } from '../../../ground/base/errors.ts';
import { isDeeperThan } from '../../../ground/base/json-depth.ts';
import { COMMON, collationTable } from './collation-table.ts';

const END = 0x00;
const NEXT_LEVEL = 0x01;
const NULL = 0x02;
const FALSE = 0x03;
const TRUE = 0x04;
const NUMBER = 0x05;
const STRING = 0x06;
const ARRAY = 0x07;
const OBJECT = 0x08;

/** Sorts after every value: the end of a view. */
export const AFTER_ALL = Uint8Array.of(0xff);

const DEEPEST_KEY = 200;

/** Throws 'too-deep' for a key that nests deeper than 200 arrays and objects. */
export function toSortKey(value: unknown): Uint8Array {
  if (isDeeperThan(value, DEEPEST_KEY))
    throw new PilotageError(
      'too-deep',
      `a view's key nests deeper than ${DEEPEST_KEY} arrays and objects: emit a flatter one`,
    );
  const bytes: number[] = [];
  write(value, bytes);
  return Uint8Array.from(bytes);
}

/** The bytes that all arrays begin with whose first elements are these. */
export function toArrayPrefix(elements: readonly unknown[]): Uint8Array {
  return toSortKey(elements).slice(0, -1);
}

function write(value: unknown, bytes: number[]): void {
  if (value === null || value === undefined) bytes.push(NULL);
  else if (typeof value === 'boolean') bytes.push(value ? TRUE : FALSE);
  else if (typeof value === 'number') writeNumber(value, bytes);
  else if (typeof value === 'string') writeString(value, bytes);
  else if (Array.isArray(value)) {
    bytes.push(ARRAY);
    for (const element of value) write(element, bytes);
    bytes.push(END);
  } else {
    bytes.push(OBJECT);
    for (const [name, property] of Object.entries(value as object)) {
      writeString(name, bytes);
      write(property, bytes);
    }
    bytes.push(END);
  }
}

const double = new DataView(new ArrayBuffer(8));

/** A double's bits in order: the sign turned over, and all bits of a negative number. */
function writeNumber(value: number, bytes: number[]): void {
  bytes.push(NUMBER);
  double.setFloat64(0, value === 0 ? 0 : value);
  const flip = double.getUint8(0) >= 0x80 ? 0xff : 0x00;
  for (let at = 0; at < 8; at++) {
    const byte = double.getUint8(at);
    bytes.push(at === 0 && flip === 0 ? byte | 0x80 : byte ^ flip);
  }
}

function writeString(text: string, bytes: number[]): void {
  const table = collationTable();
  const secondary: number[] = [];
  const tertiary: number[] = [];
  bytes.push(STRING);
  for (const character of isAscii(text) ? text : text.normalize('NFD')) {
    const weights = table.find(character);
    if (weights === undefined) {
      writeUnknown(character.codePointAt(0) ?? 0, bytes);
      secondary.push(COMMON);
      tertiary.push(COMMON);
      continue;
    }
    for (const rank of weights.primary) writeWeight(rank, bytes);
    secondary.push(...weights.secondary);
    tertiary.push(...weights.tertiary);
  }
  bytes.push(NEXT_LEVEL);
  writeLevel(secondary, bytes);
  bytes.push(NEXT_LEVEL);
  writeLevel(tertiary, bytes);
  bytes.push(END);
}

function isAscii(text: string): boolean {
  for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) > 0x7f) return false;
  return true;
}

/** Two bytes that are neither END nor NEXT_LEVEL; the first stays below those of unknown characters. */
function writeWeight(weight: number, bytes: number[]): void {
  bytes.push(2 + Math.floor(weight / 250), 2 + (weight % 250));
}

/** Han of the first block, then other Han, then the rest, each by code point, behind everything that is known. */
function writeUnknown(code: number, bytes: number[]): void {
  const common = code >= 0x4e00 && code <= 0x9fff;
  const han = (code >= 0x3400 && code <= 0x4dbf) || (code >= 0x20000 && code <= 0x323af);
  bytes.push(common ? 0xfb : han ? 0xfc : 0xfd, 2 + (code >> 14), 2 + ((code >> 7) & 0x7f), 2 + (code & 0x7f));
}

/** What ends in ordinary letters may leave them out: they are the lowest weight, and most strings are nothing else. */
function writeLevel(weights: readonly number[], bytes: number[]): void {
  let end = weights.length;
  while (end > 0 && weights[end - 1] === COMMON) end--;
  for (let at = 0; at < end; at++) writeWeight(weights[at]!, bytes);
}

/** Compares as the database does. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  return Buffer.compare(a, b);
}
