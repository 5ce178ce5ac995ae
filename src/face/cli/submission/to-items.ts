import { PilotageError } from '../../../ground/base/errors.ts';
import { type Values, valuesOf } from '../../../ground/base/placeholders.ts';
import type { InputFile, OutputInput, TaskSpec } from '../../../ground/protocol/spec.ts';
import type { Item, Step } from '../../../ground/protocol/submission.ts';
import { aheadInOrder } from '../ahead-in-order.ts';
import { defined } from '../defined.ts';
import { ownInputs, sharedInputs, tasksOf } from './check-job.ts';
import { hasOwnInputs } from './check-placeholders.ts';
import { type FoundInput, findInputs } from './find-inputs.ts';
import type { FromSource, InputSource, JobStep } from './job-step.ts';

/** Tasks whose inputs are asked about with one question, and how many such groups are on their way at once. */
const GROUP = 256;
const AHEAD = 2;

/** Brings files and directories to the server, each once. Answers in their order. */
export type Upload = (files: readonly string[]) => Promise<Omit<InputFile, 'name'>[]>;

/** The step as it travels, but for its items: shared inputs are uploaded, arrays stay arrays. */
export async function toStep(step: JobStep, upload: Upload): Promise<Step> {
  const spec = await toSpec(step, upload);
  const array = step.tasks?.kind === 'array' && !sendsItems(step) ? step.tasks.range : undefined;
  return {
    spec,
    ...defined({ name: step.name, array, priority: step.priority, notBefore: step.notBefore, reuse: step.reuse }),
    ...(step.after ? { after: [...step.after] } : {}),
  };
}

/** Are the step's tasks listed one by one? Else it is one task, or an array. */
export function sendsItems(step: JobStep): boolean {
  return step.tasks?.kind === 'items' || hasOwnInputs(step);
}

/** The tasks one by one, in order, their own inputs uploaded group by group. */
export async function* toItems(step: JobStep, upload: Upload): AsyncIterable<Item> {
  const own = ownInputs(step);
  const plain = (payload: unknown): Item => (payload === undefined ? {} : { payload });
  if (own.length === 0) {
    for await (const { payload } of tasksOf(step)) yield plain(payload);
    return;
  }
  const groups = aheadInOrder(inGroups(tasksOf(step), GROUP), AHEAD, async (tasks) => {
    const inputs = await uploadInputs(
      await Promise.all(tasks.map(({ payload, index }) => lookUp(own, valuesOf(payload, index)))),
      upload,
    );
    return tasks.map(({ payload }, at) => ({ ...plain(payload), inputs: inputs[at] as InputFile[] }));
  });
  for await (const items of groups) yield* items;
}

async function* inGroups<T>(all: AsyncIterable<T>, size: number): AsyncIterable<T[]> {
  let group: T[] = [];
  for await (const one of all) {
    group.push(one);
    if (group.length < size) continue;
    yield group;
    group = [];
  }
  if (group.length > 0) yield group;
}

export async function toSpec(step: JobStep, upload: Upload): Promise<TaskSpec> {
  const [inputs = []] = await uploadInputs([await lookUp(sharedInputs(step), {})], upload);
  const { timeLimitSeconds, timeRequestSeconds, memoryLimit, resources, retry } = step;
  return {
    ...defined({ timeLimitSeconds, timeRequestSeconds, memoryLimit, resources, retry }),
    ...(step.command ? { command: step.command.map(({ text }) => text) } : {}),
    ...(step.env ? { env: Object.fromEntries(Object.entries(step.env).map(([key, { text }]) => [key, text])) } : {}),
    ...(inputs.length > 0 ? { inputs } : {}),
    ...(step.from ? { from: step.from.map(toOutputInput) } : {}),
    ...toCheckpoint(step),
    ...(step.outputs
      ? {
          outputs: step.outputs.map(({ pattern, optional }) => ({
            pattern: pattern.text,
            ...(optional ? { optional } : {}),
          })),
        }
      : {}),
  };
}

function toOutputInput({ submission, step, index, output, name }: FromSource): OutputInput {
  return defined({ submission, step, index: index?.text, output: output?.text, name: name?.text });
}

function toCheckpoint({ checkpoint }: JobStep): Pick<TaskSpec, 'checkpoint'> {
  const { patterns = [], intervalSeconds } = checkpoint ?? {};
  if (patterns.length > 0)
    return { checkpoint: { patterns: patterns.map(({ text }) => text), ...defined({ intervalSeconds }) } };
  if (intervalSeconds === undefined) return {};
  throw new PilotageError(
    'bad-spec',
    'an interval between checkpoints was given, but not which files they are: name them (checkpoint: [FILE], --checkpoint FILE)',
  );
}

async function lookUp(inputs: readonly InputSource[], values: Values): Promise<FoundInput[]> {
  const { found, missing } = await findInputs(inputs, values);
  const [gone] = missing;
  if (gone !== undefined)
    throw new PilotageError('bad-spec', `the input '${gone}' was there a moment ago and is gone: try again`);
  return [...new Map(found.map((input) => [input.name, input])).values()];
}

/** The inputs of many tasks, task by task. */
async function uploadInputs(tasks: readonly FoundInput[][], upload: Upload): Promise<InputFile[][]> {
  const files = [...new Set(tasks.flat().map(({ file }) => file))];
  const uploaded = files.length === 0 ? [] : await upload(files);
  const of = new Map(files.map((file, at) => [file, uploaded[at] as Omit<InputFile, 'name'>]));
  return tasks.map((inputs) =>
    inputs.map(({ file, name, writable }) => ({
      name,
      ...(of.get(file) as Omit<InputFile, 'name'>),
      ...(writable ? { writable } : {}),
    })),
  );
}
