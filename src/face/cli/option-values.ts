import { InvalidArgumentError } from 'commander';
import { parseDuration } from '../../ground/base/duration.ts';
import { messageOf } from '../../ground/base/errors.ts';
import { parseSize } from '../../ground/base/size.ts';

/** Readers of option values: what they refuse is wrong usage, told with the option's name. */

export function wholeNumber(least = 0): (text: string) => number {
  return (text) => {
    const value = /^-?\d+$/.test(text) ? Number(text) : Number.NaN;
    if (Number.isSafeInteger(value) && value >= least) return value;
    throw new InvalidArgumentError(
      Number.isFinite(least) ? `It is a whole number, ${least} or more.` : 'It is a whole number.',
    );
  };
}

export const duration = readWith(parseDuration);
export const size = readWith(parseSize);

/** Values of an option that may be given several times. */
export function collect(text: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), text];
}

/** As `collect`, and each may be several with commas between them. */
export function collectList(text: string, before: readonly string[] | undefined): readonly string[] {
  return [
    ...(before ?? []),
    ...text
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== ''),
  ];
}

type Pairs = Readonly<Record<string, string>>;

/** `name=value`, given as often as there are names. */
export function collectPairs(text: string, before: Pairs | undefined): Pairs {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('Write NAME=VALUE.');
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

/** `name=path`: a name may be given several times. */
export function collectFiles(
  text: string,
  before: Readonly<Record<string, readonly string[]>> = {},
): Readonly<Record<string, readonly string[]>> {
  const [[name, file] = ['', '']] = Object.entries(collectPairs(text, undefined));
  return { ...before, [name]: [...(before[name] ?? []), file] };
}

/** `name=number`, given as often as there are names. */
export function collectCounts(
  text: string,
  before: Readonly<Record<string, number>> | undefined,
): Readonly<Record<string, number>> {
  const [[name, value] = ['', '']] = Object.entries(collectPairs(text, undefined));
  return { ...before, [name]: wholeNumber()(value) };
}

function readWith<T>(parse: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      throw new InvalidArgumentError(`${messageOf(error)}.`);
    }
  };
}
