import picomatch from 'picomatch';
import { parseSafePath } from '../../ground/content/safe-path.ts';
import type { OutputPattern } from '../../ground/protocol/spec.ts';
import type { Ending } from './journal.ts';

/** What a directory on a machine holds, relative to it. */
export interface Listing {
  readonly directories: ReadonlySet<string>;
  /** Files, links and whatever else is no directory. */
  readonly files: readonly string[];
}

/** `names`: what the patterns mean, files or directories. `paths`: all that is to be packed. `files`: the files of these. */
export interface Chosen {
  readonly names: readonly string[];
  readonly paths: readonly string[];
  readonly files: readonly string[];
  readonly fault?: Pick<Ending, 'reason' | 'message'>;
}

/** Directories, an empty name, then the rest; each name is ended by a zero byte, and begins with `./`. */
export function parseListing(text: string): Listing {
  const names = text.split('\0');
  const gap = names.indexOf('');
  const plain = (name: string): string => name.replace(/^\.\//, '');
  const directories = gap < 0 ? [] : names.slice(0, gap).map(plain);
  const files = gap < 0 ? [] : names.slice(gap + 1, -1).map(plain);
  return { directories: new Set(directories.filter((name) => name !== '.')), files };
}

/** As outputs are found on a worker: a pattern matches files and directories, each directory as a whole. */
export function chooseOutputs({ directories, files }: Listing, patterns: readonly OutputPattern[]): Chosen {
  const names = new Set<string>();
  let fault: Chosen['fault'];
  for (const { pattern, optional } of patterns) {
    const found = matchesOf(parseSafePath(pattern), directories, files);
    for (const name of found) names.add(name);
    if (found.length === 0 && !optional) fault ??= missing(pattern, directories, files);
  }
  const isInside = (file: string): boolean => names.has(file) || [...above(file)].some((one) => names.has(one));
  const chosenFiles = files.filter(isInside);
  const chosenDirectories = [...directories].filter(isInside);
  return {
    names: [...names].sort(),
    paths: [...chosenDirectories, ...chosenFiles],
    files: chosenFiles,
    ...(fault ? { fault } : {}),
  };
}

function matchesOf(pattern: string, directories: ReadonlySet<string>, files: readonly string[]): string[] {
  if (!picomatch.scan(pattern).isGlob) return directories.has(pattern) || files.includes(pattern) ? [pattern] : [];
  const matches = picomatch(pattern, { dot: pattern.startsWith('.') });
  const whole = [...directories].filter((name) => matches(name));
  const outermost = whole.filter((name) => ![...above(name)].some((one) => whole.includes(one)));
  const isOutside = (name: string): boolean => ![...above(name)].some((one) => outermost.includes(one));
  return [...outermost, ...files.filter((name) => matches(name) && isOutside(name))];
}

/** The directories that a path lies in. */
function* above(name: string): Generator<string> {
  for (let at = name.lastIndexOf('/'); at > 0; at = name.lastIndexOf('/', at - 1)) yield name.slice(0, at);
}

function missing(pattern: string, directories: ReadonlySet<string>, files: readonly string[]): Chosen['fault'] {
  const top = [...[...directories].map((name) => `${name}/`), ...files].filter((name) => !/\/./.test(name)).sort();
  const more = top.length > 10 ? ` and ${top.length - 10} more` : '';
  const there = top.length === 0 ? 'nothing' : `${top.slice(0, 10).join(', ')}${more}`;
  const message = `the program ended well, but left no '${pattern}'. Its directory holds ${there}. Correct the output's name, or mark it as optional.`;
  return { reason: 'missing-output', message };
}

/** Lines as sha256sum prints them. A name with a line break or a backslash is written in another way there, and left out. */
export function parseSums(text: string): Map<string, string> {
  const sums = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, digest, name] = /^([0-9a-f]{64}) [ *](?:\.\/)?(.+)$/.exec(line) ?? [];
    if (digest !== undefined && name !== undefined) sums.set(name, digest);
  }
  return sums;
}
