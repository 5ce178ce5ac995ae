import { PilotageError } from '../../../ground/base/errors.ts';
import { valuesOf } from '../../../ground/base/placeholders.ts';
import type { InputFile, TaskSpec } from '../../../ground/protocol/spec.ts';
import type { Item, Step } from '../../../ground/protocol/submission.ts';
import { aheadInOrder } from '../ahead-in-order.ts';
import { defined } from '../defined.ts';
import { ownInputs, sharedInputs, tasksOf } from './check-job.ts';
import { hasOwnInputs } from './check-placeholders.ts';
import { type FoundInput, findInputs } from './find-inputs.ts';
import type { InputSource, JobStep } from './job-step.ts';

/** Tasks whose inputs are uploaded side by side. */
const AHEAD = 16;

/** Brings a file or directory to the server, once for each. */
export type Upload = (file: string) => Promise<Omit<InputFile, 'name'>>;

/** The step as it travels, but for its items: shared inputs are uploaded, arrays stay arrays. */
export async function toStep(step: JobStep, upload: Upload): Promise<Step> {
  const spec = await toSpec(step, upload);
  const array = step.tasks?.kind === 'array' && !sendsItems(step) ? step.tasks.range : undefined;
  return {
    spec,
    ...defined({ name: step.name, array, priority: step.priority, notBefore: step.notBefore }),
    ...(step.after ? { after: [...step.after] } : {}),
  };
}

/** Are the step's tasks listed one by one? Else it is one task, or an array. */
export function sendsItems(step: JobStep): boolean {
  return step.tasks?.kind === 'items' || hasOwnInputs(step);
}

/** The tasks one by one, their own inputs uploaded a few at a time, in order. */
export async function* toItems(step: JobStep, upload: Upload): AsyncIterable<Item> {
  const own = ownInputs(step);
  const plain = (payload: unknown): Item => (payload === undefined ? {} : { payload });
  if (own.length === 0) {
    for await (const { payload } of tasksOf(step)) yield plain(payload);
    return;
  }
  yield* aheadInOrder(tasksOf(step), AHEAD, async ({ payload, index }) => ({
    ...plain(payload),
    inputs: await uploadInputs(own, valuesOf(payload, index), upload),
  }));
}

async function toSpec(step: JobStep, upload: Upload): Promise<TaskSpec> {
  const inputs = await uploadInputs(sharedInputs(step), {}, upload);
  const { timeLimitSeconds, timeRequestSeconds, memoryLimit, resources, retry } = step;
  return {
    ...defined({ timeLimitSeconds, timeRequestSeconds, memoryLimit, resources, retry }),
    ...(step.command ? { command: step.command.map(({ text }) => text) } : {}),
    ...(step.env ? { env: Object.fromEntries(Object.entries(step.env).map(([key, { text }]) => [key, text])) } : {}),
    ...(inputs.length > 0 ? { inputs } : {}),
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

async function uploadInputs(
  inputs: readonly InputSource[],
  values: Record<string, unknown>,
  upload: Upload,
): Promise<InputFile[]> {
  const { found, missing } = await findInputs(inputs, values);
  const [gone] = missing;
  if (gone !== undefined)
    throw new PilotageError('bad-spec', `the input '${gone}' was there a moment ago and is gone: try again`);
  const names = new Map(found.map((input) => [input.name, input]));
  return Promise.all([...names.values()].map((input) => uploadInput(input, upload)));
}

async function uploadInput({ file, name }: FoundInput, upload: Upload): Promise<InputFile> {
  return { name, ...(await upload(file)) };
}
