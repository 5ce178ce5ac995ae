import { messageOf } from '../../../ground/base/errors.ts';
import { checkFile, plainFileName } from '../../../ground/content/file-parameters.ts';
import { formatCount } from '../base/format.ts';
import type { Field, NumberRule, TextRule, Value } from './fields.ts';

/** What is wrong with what stands in a field, and what would be right; undefined when it can be sent. */
export function checkField({ kind, isRequired, isEmptyList }: Field, value: Value): string | undefined {
  if (kind.kind === 'files') return checkFiles(kind, value as readonly File[]);
  if (kind.kind === 'truth') return undefined;
  if (kind.kind === 'choices') return checkNumberOf(value as readonly string[], kind, isRequired || isEmptyList);
  const text = String(value);
  if (text.trim() === '' && isRequired) return 'This is needed.';
  if (text.trim() === '' && !isEmptyList) return undefined;
  switch (kind.kind) {
    case 'text':
      return checkText(text, kind);
    case 'number':
      return checkNumber(text, kind);
    case 'choice':
      return kind.choices.some((choice) => choice.text === text) ? undefined : 'Choose one of those listed.';
    case 'lines': {
      const lines = linesOf(text);
      return checkNumberOf(lines, kind, true) ?? firstWrong(lines, kind.of);
    }
    case 'json':
      return checkJson(text);
  }
}

/** Blank lines say nothing. */
export function linesOf(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

/** A file's name is all that a job keeps of where it came from: two of one name would be one. */
export function doubleNames(fields: readonly Field[], values: ReadonlyMap<string, Value>): Map<string, string> {
  const seen = new Set<string>();
  const doubles = new Map<string, string>();
  for (const { name, kind } of fields) {
    if (kind.kind !== 'files') continue;
    for (const file of values.get(name) as readonly File[]) {
      if (seen.has(file.name)) doubles.set(name, `Two files are called '${file.name}': rename one, or remove it here.`);
      seen.add(file.name);
    }
  }
  return doubles;
}

function checkFiles(kind: Extract<Field['kind'], { kind: 'files' }>, files: readonly File[]): string | undefined {
  const { parameter, least } = kind;
  if (files.length < least)
    return least === 1 ? 'Choose a file.' : `Choose at least ${formatCount(least, 'file')}: here are ${files.length}.`;
  if (files.length > parameter.most)
    return `At most ${formatCount(parameter.most, 'file')}, and here are ${files.length}: remove some.`;
  for (const file of files) {
    try {
      checkFile(parameter, plainFileName(file.name), file.size);
    } catch (error) {
      return sentence(messageOf(error).replace(/[.:;] ?nothing was added$/i, ''));
    }
  }
  return undefined;
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

function checkNumberOf(
  values: readonly string[],
  { least, most }: { readonly least: number; readonly most: number },
  isThere: boolean,
): string | undefined {
  if (values.length < least && (isThere || values.length > 0))
    return `At least ${formatCount(least, 'value')}, and here are ${values.length}.`;
  return values.length > most ? `At most ${formatCount(most, 'value')}, and here are ${values.length}.` : undefined;
}

function firstWrong(
  lines: readonly string[],
  rule: Extract<Field['kind'], { kind: 'lines' }>['of'],
): string | undefined {
  for (const [at, line] of lines.entries()) {
    const wrong = rule.kind === 'text' ? checkText(line, rule) : checkNumber(line, rule);
    if (wrong !== undefined) return `Line ${at + 1}, '${line}': ${wrong}`;
  }
  return undefined;
}

function checkText(text: string, { minLength, maxLength, pattern, patternSays }: TextRule): string | undefined {
  const length = [...text].length;
  if (minLength !== undefined && length < minLength)
    return `At least ${formatCount(minLength, 'character')}, and here are ${length}.`;
  if (maxLength !== undefined && length > maxLength)
    return `At most ${formatCount(maxLength, 'character')}, and here are ${length}.`;
  if (pattern === undefined || matches(text, pattern)) return undefined;
  return patternSays ?? `This does not have the form ${pattern}.`;
}

/** A pattern that this browser cannot read is left to the server. */
function matches(text: string, pattern: string): boolean {
  try {
    return new RegExp(pattern, 'u').test(text);
  } catch {
    return true;
  }
}

function checkNumber(text: string, { isInteger, min, max, above, below, step }: NumberRule): string | undefined {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) return 'This is not a number.';
  if (isInteger && !Number.isInteger(value)) return 'This has to be a whole number.';
  if (min !== undefined && value < min) return `At least ${min}.`;
  if (max !== undefined && value > max) return `At most ${max}.`;
  if (above !== undefined && value <= above) return `More than ${above}.`;
  if (below !== undefined && value >= below) return `Less than ${below}.`;
  return step !== undefined && !isMultiple(value, step) ? `A multiple of ${step}.` : undefined;
}

/** 0.3 is a multiple of 0.1, whatever binary fractions say. */
function isMultiple(value: number, step: number): boolean {
  const times = value / step;
  return Math.abs(times - Math.round(times)) < 1e-9 * Math.max(1, Math.abs(times));
}

function checkJson(text: string): string | undefined {
  try {
    JSON.parse(text);
    return undefined;
  } catch (error) {
    return `This is not JSON: ${messageOf(error)}.`;
  }
}
