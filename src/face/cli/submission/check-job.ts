import { PilotageError } from '../../../ground/base/errors.ts';
import { valuesOf } from '../../../ground/base/placeholders.ts';
import { countOf, tooMany } from '../../../ground/protocol/array-range.ts';
import { MAX_TASKS } from '../../../ground/protocol/limits.ts';
import { hasOwnInputs, placeholderCheck } from './check-placeholders.ts';
import { findInputs } from './find-inputs.ts';
import type { InputSource, Job, JobStep, TaskList } from './job-step.ts';

/** Missing files that are named one by one. */
const NAMED = 10;

interface Missing {
  readonly names: Set<string>;
}

/**
 * Looks at every task of a job before anything is sent: a job is accepted whole or not at all. Throws for a placeholder
 * without a value and for inputs that are not there. Returns how many tasks each step has.
 */
export async function checkJob(job: Job): Promise<number[]> {
  const missing: Missing = { names: new Set() };
  const counts: number[] = [];
  for (const step of job.steps) counts.push(await checkStep(step, missing));
  if (missing.names.size > 0) throw notThere(missing, job.steps);
  return counts;
}

async function checkStep(step: JobStep, missing: Missing): Promise<number> {
  await lookFor(sharedInputs(step), {}, missing);
  const check = placeholderCheck(step);
  const own = ownInputs(step);
  if (own.length > 0) checkCountsFromOne(step);
  let count = 0;
  for await (const { payload, index } of tasksOf(step)) {
    count += 1;
    if (count > MAX_TASKS) throw tooMany(count, 'the list');
    check(payload, index);
    if (own.length > 0) await lookFor(own, valuesOf(payload, index), missing);
    if (own.length === 0 && step.tasks?.kind !== 'items') break;
  }
  if (count === 0)
    throw new PilotageError('bad-spec', `${step.tasks?.at ?? ''}the list is empty: there would be no task`);
  return step.tasks?.kind === 'array' ? countOf(step.tasks.range) : count;
}

/** The tasks with their payloads, numbered from 1. Of an array, where all are alike, every index. */
export async function* tasksOf(step: JobStep): AsyncIterable<{ payload: unknown; index: number }> {
  const list: TaskList = step.tasks ?? { kind: 'array', at: '', range: { first: 1, last: 1 } };
  if (list.kind === 'array') {
    const { first, last, step: by } = list.range;
    for (let index = first; index <= last; index += by ?? 1) yield { payload: undefined, index };
    return;
  }
  let index = 0;
  for await (const payload of list.payloads()) {
    index += 1;
    yield { payload, index };
  }
}

export function sharedInputs(step: JobStep): InputSource[] {
  return (step.inputs ?? []).filter((input) => !hasOwnInputs({ inputs: [input] }));
}

export function ownInputs(step: JobStep): InputSource[] {
  return (step.inputs ?? []).filter((input) => hasOwnInputs({ inputs: [input] }));
}

async function lookFor(
  inputs: readonly InputSource[],
  values: Record<string, unknown>,
  missing: Missing,
): Promise<void> {
  const { missing: names } = await findInputs(inputs, values);
  for (const name of names) missing.names.add(name);
}

function notThere({ names }: Missing, steps: readonly JobStep[]): PilotageError {
  const listed = [...names].slice(0, NAMED).map((name) => `'${name}'`);
  const more = names.size > NAMED ? ` and ${names.size - NAMED} more` : '';
  const base = steps.flatMap((step) => step.inputs ?? [])[0]?.base ?? '.';
  return new PilotageError(
    'bad-spec',
    `${names.size === 1 ? 'an input is' : `${names.size} inputs are`} not there: ${listed.join(', ')}${more} (looked for in '${base}')`,
  );
}

/** Items are numbered 1, 2, 3, …: an array that counts otherwise cannot become items without changing its tasks' names. */
function checkCountsFromOne(step: JobStep): void {
  const range = step.tasks?.kind === 'array' ? step.tasks.range : undefined;
  if (!range || (range.first === 1 && (range.step ?? 1) === 1)) return;
  throw new PilotageError(
    'bad-spec',
    `${step.tasks?.at ?? ''}inputs with '{index}' need an array that counts 1, 2, 3, …: begin it at 1, or list the files with --each-line`,
  );
}
