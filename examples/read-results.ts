/** Reads what `pilotage results ID --to DIR` brought back: DIR/<index>/ holds the outputs of task <index>. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Results<T> {
  readonly found: readonly T[];
  /** The indexes of the tasks, of 1 to `tasks`, that left no such file. */
  readonly missing: readonly number[];
}

/** Throws when `directory` is not there or a file is no JSON object with a number under each name. */
export function readResults<const Name extends string>(
  directory: string,
  file: string,
  expected: { readonly tasks: number; readonly numbers: readonly Name[] },
): Results<Record<Name, number>> {
  const present = new Set(readdirSync(directory).filter((index) => existsSync(join(directory, index, file))));
  const indexes = Array.from({ length: expected.tasks }, (_, index) => index + 1);
  return {
    found: indexes
      .filter((index) => present.has(`${index}`))
      .map((index) => parseNumbers(join(directory, `${index}`, file), expected.numbers)),
    missing: indexes.filter((index) => !present.has(`${index}`)),
  };
}

function parseNumbers<Name extends string>(path: string, names: readonly Name[]): Record<Name, number> {
  const content: Partial<Record<string, unknown>> = JSON.parse(readFileSync(path, 'utf8'));
  const wrong = names.find((name) => !Number.isFinite(content[name]));
  if (wrong) throw new Error(`${path} has no number '${wrong}'`);
  return content as Record<Name, number>;
}
