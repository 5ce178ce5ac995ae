import { PilotageError } from '../base/errors.ts';
import { MAX_TASKS } from './limits.ts';
import type { ArrayRange } from './submission.ts';

const MAX_INDEX = 1_000_000_000;

/** Reads `1-100`, `0-90:10` or `1,3,5`: anything that counts in equal steps. */
export function parseArrayRange(text: string): ArrayRange {
  const plain = text.replaceAll(' ', '');
  const range = plain.includes(',') ? fromList(plain) : fromBounds(plain);
  if (!range) throw unreadable(text);
  checkBounds(range, text);
  return range;
}

export function countOf(range: ArrayRange): number {
  return Math.floor((range.last - range.first) / (range.step ?? 1)) + 1;
}

export function tooMany(count: number, what: string): PilotageError {
  return new PilotageError(
    'array-too-large',
    `${what} makes ${count.toLocaleString('en')} tasks, and one submission takes ${MAX_TASKS.toLocaleString('en')}: split it, or let each task do more`,
  );
}

function fromBounds(plain: string): ArrayRange | undefined {
  const match = /^(\d+)-(\d+)(?::(\d+))?$/.exec(plain) ?? /^(\d+)()()$/.exec(plain);
  if (!match) return undefined;
  const [, first, last, step] = match;
  const range = { first: Number(first), last: Number(last === '' ? first : last) };
  return step ? { ...range, step: Number(step) } : range;
}

function fromList(plain: string): ArrayRange | undefined {
  const parts = plain.split(',');
  if (!parts.every((part) => /^\d+$/.test(part))) throw severalRanges(plain);
  const numbers = parts.map(Number).sort((a, b) => a - b);
  const [first = 0, second = 0] = numbers;
  const step = second - first;
  if (numbers.some((number, at) => number !== first + at * step) || step === 0) throw severalRanges(plain);
  return { first, last: first + (numbers.length - 1) * step, ...(step === 1 ? {} : { step }) };
}

function checkBounds(range: ArrayRange, text: string): void {
  const { first, last, step } = range;
  if (step === 0) throw refuse(`'${text}' never moves on: a step is 1 or more`);
  if (last < first) throw refuse(`'${text}' ends before it begins: write the smaller number first`);
  if (!(last <= MAX_INDEX)) throw refuse(`'${text}' counts too far: an index is at most ${MAX_INDEX}`);
  if (countOf(range) > MAX_TASKS) throw tooMany(countOf(range), `'${text}'`);
}

function severalRanges(text: string): PilotageError {
  return refuse(
    `'${text}' does not count in equal steps: for a list of values use --each-line or --from-json, where each is a placeholder`,
  );
}

function unreadable(text: string): PilotageError {
  return refuse(`'${text}' is not a range: write '1-100', or '0-90:10' for every tenth`);
}

function refuse(message: string): PilotageError {
  return new PilotageError('bad-request', message);
}
