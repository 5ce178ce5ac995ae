import { PilotageError } from '../../../ground/base/errors.ts';
import { placeholdersIn, valuesOf } from '../../../ground/base/placeholders.ts';
import { findNearest } from '../nearest.ts';
import type { JobStep, Template } from './job-step.ts';

interface Use {
  readonly name: string;
  readonly where: string;
  readonly at: string;
}

/** Returns a check for one task of the step: throws when one of its placeholders has no value. */
export function placeholderCheck(step: JobStep): (payload: unknown, index: number) => void {
  const uses = usesIn(step);
  return (payload, index) => {
    if (uses.length === 0) return;
    const values = valuesOf(payload, index);
    const missing = uses.find(({ name }) => !Object.hasOwn(values, name));
    if (missing) throw withoutValue(missing, Object.keys(values), index);
  };
}

/** Does a task of the step bring files of its own? */
export function hasOwnInputs(step: JobStep): boolean {
  return (step.inputs ?? []).some(
    ({ source, name }) => holdsPlaceholder(source) || (name !== undefined && holdsPlaceholder(name)),
  );
}

export function holdsPlaceholder(template: Template): boolean {
  return placeholdersIn(template.text).length > 0;
}

function usesIn(step: JobStep): Use[] {
  const places: [string, Template][] = [
    ...(step.command ?? []).map((word): [string, Template] => ['command', word]),
    ...Object.entries(step.env ?? {}).map(([key, value]): [string, Template] => [`variable ${key}`, value]),
    ...(step.inputs ?? []).flatMap(({ source, name }): [string, Template][] => [
      ['input', source],
      ...(name ? [['input', name] as [string, Template]] : []),
    ]),
    ...(step.outputs ?? []).map(({ pattern }): [string, Template] => ['output', pattern]),
    ...(step.checkpoint?.patterns ?? []).map((pattern): [string, Template] => ['checkpoint', pattern]),
    ...(step.from ?? []).flatMap(({ index, output, name }) =>
      [index, output, name].filter((one) => one !== undefined).map((one): [string, Template] => ['input', one]),
    ),
  ];
  return places.flatMap(([where, { text, at }]) => placeholdersIn(text).map((name) => ({ name, where, at })));
}

function withoutValue({ name, where, at }: Use, known: readonly string[], index: number): PilotageError {
  const nearest = findNearest(name, known);
  const hint = nearest === undefined ? '' : `: did you mean '{${nearest}}'?`;
  return new PilotageError(
    'missing-placeholder',
    `${at}'{${name}}' in the ${where} has no value in task ${index}${hint} (it has ${known.map((one) => `{${one}}`).join(', ')}; text in braces is written '{{${name}}}')`,
  );
}
