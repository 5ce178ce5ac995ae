import { fillPlaceholders, valuesOf } from '../../ground/base/placeholders.ts';
import type { InputFile, OutputPattern } from '../../ground/protocol/spec.ts';
import type { Assignment } from './attempt-run.ts';

/** The spec with this task's values in it. */
export interface Filled {
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly inputs: readonly InputFile[];
  readonly outputs: readonly OutputPattern[];
  readonly checkpoint: readonly string[];
}

/** Puts the task's values into what the whole submission shares. */
export function fillSpec({ claim, spec }: Pick<Assignment, 'claim' | 'spec'>): Filled | { fault: string } {
  if (!spec.command) return { fault: 'this task has no command: it is meant for another kind of worker' };
  const values = valuesOf(claim.payload, Number(claim.task.split('.')[1]));
  const missing = new Set<string>();
  const text = (template: string): string =>
    fillPlaceholders(template, values, (name) => {
      missing.add(name);
      return '';
    });
  const filled: Filled = {
    command: spec.command.map(text),
    env: Object.fromEntries(Object.entries(spec.env ?? {}).map(([name, value]) => [name, text(value)])),
    inputs: [
      ...[...(spec.inputs ?? []), ...(claim.inputs ?? [])].map((input) => ({ ...input, name: text(input.name) })),
      ...(claim.from ?? []),
    ],
    outputs: (spec.outputs ?? []).map((output) => ({ ...output, pattern: text(output.pattern) })),
    checkpoint: (spec.checkpoint?.patterns ?? []).map(text),
  };
  if (missing.size === 0) return filled;
  return { fault: `the task's payload has no value for ${[...missing].map((name) => `{${name}}`).join(', ')}` };
}
