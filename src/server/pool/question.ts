import { createHash } from 'node:crypto';
import { placeholdersIn } from '../../ground/base/placeholders.ts';
import { BY_INDEX } from '../store/verbs/reuse.ts';
import type { InputFacts, SpecFacts } from './step-facts.ts';

/** A task whose inputs come from other tasks, once it is known which files these are. */
export function questionOfClaim(
  spec: SpecFacts,
  task: { readonly idx: number; readonly payload: string | null; readonly inputs: string | null },
  from: readonly InputFacts[],
): string | null {
  const { from: _from, ...rest } = spec;
  const question = questionOf({ ...rest, inputs: [...(spec.inputs ?? []), ...from] });
  if (question === null) return null;
  const { idx, payload, inputs } = task;
  const byIndex = payload === null || question.endsWith(BY_INDEX) || inputs?.includes('{index}') === true;
  return digestOf([question, byIndex ? idx : null, payload, inputs]);
}

/**
 * What decides the answer of a submission's tasks, besides their payload, own inputs and index: command, environment,
 * input digests, and what is kept of the outcome. Equal questions have equal digests. Null where it cannot be told
 * before the task runs: without a command, or with outputs of other tasks as inputs. Where `{index}` is written, tasks
 * with equal values ask the same only when their numbers are equal too.
 */
export function questionOf(spec: SpecFacts): string | null {
  if (!spec.command || (spec.from ?? []).length > 0) return null;
  const inputs = (spec.inputs ?? []).map(({ name, digest, kind, executable }) => [
    name,
    digest,
    kind,
    executable === true,
  ]);
  const outputs = (spec.outputs ?? []).map(({ pattern, optional }) => [pattern, optional === true]);
  const env = Object.entries(spec.env ?? {});
  const question = [1, spec.command, env.sort(byText), inputs, outputs.sort(byText)];
  const digest = digestOf(question);
  return textsOf(spec).flatMap(placeholdersIn).includes('index') ? `${digest}${BY_INDEX}` : digest;
}

/** All in which a task's values are put. */
function textsOf({ command = [], env = {}, inputs = [], outputs = [] }: SpecFacts): readonly string[] {
  return [
    ...command,
    ...Object.values(env),
    ...inputs.map(({ name }) => name),
    ...outputs.map(({ pattern }) => pattern),
  ];
}

function digestOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex');
}

function byText(a: readonly unknown[], b: readonly unknown[]): number {
  const [left, right] = [JSON.stringify(a), JSON.stringify(b)];
  if (left === right) return 0;
  return left < right ? -1 : 1;
}
