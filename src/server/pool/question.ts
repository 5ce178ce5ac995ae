import { createHash } from 'node:crypto';
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
  return digestOf([question, payload ?? idx, payload === null, inputs]);
}

/**
 * What decides the answer of a submission's tasks, besides their payload, own inputs and index: command, environment,
 * input digests, and what is kept of the outcome. Equal questions have equal digests. Null where it cannot be told
 * before the task runs: without a command, or with outputs of other tasks as inputs.
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
  const question = [1, spec.command, env.sort(byText), inputs.sort(byText), outputs.sort(byText)];
  return digestOf(question);
}

function digestOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex');
}

function byText(a: readonly unknown[], b: readonly unknown[]): number {
  const [left, right] = [JSON.stringify(a), JSON.stringify(b)];
  if (left === right) return 0;
  return left < right ? -1 : 1;
}
