import { messageOf, PilotageError } from '../../ground/base/errors.ts';
import { isDeeperThan } from '../../ground/base/json-depth.ts';
import { MAX_PAYLOAD_DEPTH, MAX_TASKS } from '../../ground/base/limits.ts';
import { placeholdersIn, valuesOf } from '../../ground/base/placeholders.ts';
import { parseSafePath } from '../../ground/content/safe-path.ts';
import { type Shape, shapeKey } from '../core/shape.ts';
import type { NewDependency, NewItems, NewSubmission } from '../store/verbs/submissions.ts';
import { questionOf } from './question.ts';
import type { FromFacts, ItemFacts, SpecFacts, StepFacts, SubmitRequestFacts } from './step-facts.ts';

export function toNewSubmission(step: StepFacts, request: SubmitRequestFacts, at: number): NewSubmission {
  const what = step.name === undefined ? `step ${at + 1}` : `step '${step.name}'`;
  if (step.array && step.items)
    throw new PilotageError('bad-spec', `${what} has both an array and items: give one of them`);
  if (step.array) refuseBadArray(step.array, what);
  const single = !step.array && !step.items && request.open !== true;
  const items = step.items ?? (single ? [{}] : undefined);
  if (step.items?.length === 0 && request.open !== true)
    throw new PilotageError('bad-spec', `${what} has an empty list of items: there would be nothing to do`);
  if (step.spec.site?.pilot)
    throw new PilotageError('bad-spec', `${what}: pilots are sent by the server: 'pilotage pilots set' says where to`);
  refuseBadPaths(step.spec, step.items ?? [], what);
  if (items) refuseUnfilled(step.spec, items, 1, step.name ?? null);
  else if (step.array) refuseUnfilled(step.spec, [{}], step.array.first, step.name ?? null);
  return {
    name: step.name ?? null,
    shapeKey: shapeKey(toShape(step.spec)),
    spec: JSON.stringify(step.spec),
    priority: step.priority ?? 0,
    notBefore: step.notBefore === undefined ? null : Date.parse(step.notBefore),
    after: [...(step.after ?? []), ...(step.spec.from ?? []).map((from) => sourceOf(from, what))].map((on) =>
      toDependency(on, request.steps, what),
    ),
    from: (step.spec.from ?? []).map((from) => toSource(from, request.steps)),
    digests: (step.spec.inputs ?? []).map((input) => input.digest),
    question: questionOf(step.spec),
    hasCheckpoint: step.spec.checkpoint !== undefined,
    reuse: step.reuse === true,
    array: step.array ? { first: step.array.first, last: step.array.last, step: step.array.step ?? 1 } : null,
    items: items ? toRows(items, 1, what) : null,
  };
}

/** What a task takes its inputs from has to succeed first. */
function sourceOf(from: FromFacts, what: string): NonNullable<StepFacts['after']>[number] {
  const { submission, step, index } = from;
  if ((submission === undefined) === (step === undefined))
    throw new PilotageError('bad-spec', `${what}: an input 'from' names a submission or a step: give one of them`);
  if (step !== undefined) return { step };
  const fixed = index !== undefined && /^\d{1,15}$/.test(index) ? { index: Number(index) } : {};
  return { submission: submission as number, ...fixed };
}

function toSource(from: FromFacts, steps: readonly StepFacts[]): NewSubmission['from'][number] {
  if (from.submission !== undefined) return { submission: from.submission };
  return { step: steps.findIndex((one) => one.name === from.step) };
}

/** Names of files stay below the sandbox; those that hold placeholders are looked at again when these are filled. */
export function refuseBadPaths(spec: SpecFacts, items: readonly ItemFacts[], what: string): void {
  const names = [
    ...(spec.inputs ?? []).map((input) => input.name),
    ...items.flatMap((item) => (item.inputs ?? []).map((input) => input.name)),
    ...(spec.outputs ?? []).map((output) => output.pattern),
    ...(spec.checkpoint?.patterns ?? []),
    ...(spec.from ?? []).flatMap((from) => [from.name, from.output].filter((name) => name !== undefined)),
  ];
  for (const name of names) {
    try {
      parseSafePath(name);
    } catch (error) {
      throw new PilotageError('bad-spec', `${what}: ${messageOf(error)}; nothing was submitted`, { cause: error });
    }
  }
}

function toDependency(
  on: NonNullable<StepFacts['after']>[number],
  steps: readonly StepFacts[],
  what: string,
): NewDependency {
  if ('submission' in on) return { submission: on.submission, idx: on.index ?? null };
  const step = steps.findIndex((one) => one.name === on.step);
  if (step < 0) throw new PilotageError('bad-spec', `${what} comes after '${on.step}', but no step has that name`);
  return { step };
}

export function toShape(spec: SpecFacts): Shape {
  const asked = spec.resources ?? {};
  return {
    kind: spec.site ? 'site' : spec.command ? 'command' : 'payload',
    cpus: asked.cpus ?? 1,
    memory: asked.memory ?? 0,
    gpus: asked.gpus ?? 0,
    named: asked.named ?? {},
    labels: spec.site ? { ...asked.labels, [siteLabel(spec.site.name)]: 'yes' } : (asked.labels ?? {}),
    timeRequestSeconds: spec.timeRequestSeconds ?? 0,
  };
}

/** What an agent that serves a site says of itself, and a job that is meant for it asks for. */
function siteLabel(name: string): string {
  return `site:${name}`;
}

export function toRows(items: readonly ItemFacts[], first: number, what: string): NewItems {
  return {
    first,
    payloads: items.map((item, i) => payloadText(item.payload, `${what}, item ${first + i}`)),
    inputs: items.map((item) => (item.inputs && item.inputs.length > 0 ? JSON.stringify(item.inputs) : null)),
    digests: items.flatMap((item) => (item.inputs ?? []).map((input) => input.digest)),
  };
}

function payloadText(payload: unknown, what: string): string | null {
  if (payload === undefined) return null;
  if (isDeeperThan(payload, MAX_PAYLOAD_DEPTH))
    throw new PilotageError(
      'too-deep',
      `${what}: the payload nests deeper than ${MAX_PAYLOAD_DEPTH} levels; nothing was submitted. Put deep data into a file and give it with --input`,
    );
  return JSON.stringify(payload);
}

export function countOf(array: { first: number; last: number; step?: number | undefined }): number {
  return Math.floor((array.last - array.first) / (array.step ?? 1)) + 1;
}

function refuseBadArray(array: NonNullable<StepFacts['array']>, what: string): void {
  if (array.last < array.first)
    throw new PilotageError(
      'bad-spec',
      `${what}: the array ${array.first}-${array.last} is empty: write the smaller number first`,
    );
  const count = countOf(array);
  if (count > MAX_TASKS)
    throw new PilotageError(
      'array-too-large',
      `${what}: an array of ${count} tasks is over the limit of ${MAX_TASKS}: submit it in parts; nothing was submitted`,
    );
}

/** Every `{name}` must have a value in every task. */
export function refuseUnfilled(spec: SpecFacts, items: readonly ItemFacts[], first: number, name: string | null): void {
  const texts = [
    ...(spec.command ?? []),
    ...Object.values(spec.env ?? {}),
    ...(spec.inputs ?? []).map((i) => i.name),
    ...(spec.outputs ?? []).map((o) => o.pattern),
    ...(spec.checkpoint?.patterns ?? []),
    ...(spec.from ?? []).flatMap((from) => [from.index ?? '', from.output ?? '', from.name ?? '']),
  ];
  const wanted = [...new Set(texts.flatMap(placeholdersIn))];
  if (wanted.length === 0) return;
  for (const [i, item] of items.entries()) {
    const values = valuesOf(item.payload, first + i);
    const missing = wanted.find((placeholder) => !Object.hasOwn(values, placeholder));
    if (missing === undefined) continue;
    const known = Object.keys(values)
      .map((key) => `{${key}}`)
      .join(', ');
    throw new PilotageError(
      'missing-placeholder',
      `${name === null ? '' : `step '${name}': `}task ${first + i} has no value for {${missing}} (it has ${known}): give one, or write {{${missing}}} for the text itself; nothing was submitted`,
    );
  }
}

export function refuseCycle(steps: readonly StepFacts[]): void {
  const names = steps.flatMap((step) => (step.name === undefined ? [] : [step.name]));
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined && steps.length > 1)
    throw new PilotageError('bad-spec', `two steps are called '${twice}': give each a name of its own`);
  const after = new Map(
    steps.map((step) => [
      step.name,
      [
        ...(step.after ?? []).flatMap((on) => ('step' in on ? [on.step] : [])),
        ...(step.spec.from ?? []).flatMap(({ step: on }) => (on === undefined ? [] : [on])),
      ],
    ]),
  );
  const done = new Set<string>();
  const visit = (name: string, path: readonly string[]): void => {
    if (path.includes(name))
      throw new PilotageError(
        'dependency-cycle',
        `the steps wait for each other: ${[...path.slice(path.indexOf(name)), name].join(' → ')}; nothing was submitted`,
      );
    if (done.has(name)) return;
    for (const next of after.get(name) ?? []) visit(next, [...path, name]);
    done.add(name);
  };
  for (const name of names) visit(name, []);
}
