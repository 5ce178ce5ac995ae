import type { Resources, RetryPolicy } from '../../../ground/protocol/spec.ts';
import type { ArrayRange, Dependency } from '../../../ground/protocol/submission.ts';

/** A text that may hold placeholders. `at` begins a message about it: `water.yaml:3:20: `, or nothing for a flag. */
export interface Template {
  readonly text: string;
  readonly at: string;
}

/** A file, directory or glob; relative to `base`. `name` is what it is called in the sandbox. */
export interface InputSource {
  readonly source: Template;
  readonly name?: Template;
  /** A copy of its own, which the program may change. */
  readonly writable?: boolean;
  readonly base: string;
}

/** Outputs of another task, or of all tasks of a submission; see `OutputInput` of the protocol. */
export interface FromSource {
  readonly submission?: number;
  readonly step?: string;
  readonly index?: Template;
  readonly output?: Template;
  readonly name?: Template;
}

export interface OutputSource {
  readonly pattern: Template;
  readonly optional: boolean;
}

/** The tasks of a step: alike but for their index, or each with a payload of its own, which are made when they are wanted. */
export type TaskList =
  | { readonly kind: 'array'; readonly range: ArrayRange; readonly at: string }
  | {
      readonly kind: 'items';
      readonly at: string;
      /** How many there are, where that is known before they are read. */
      readonly count?: number;
      payloads(): Iterable<unknown> | AsyncIterable<unknown>;
    };

/** One step as a person described it, in a file, by flags, or in both. What is undefined has not been said. */
export interface JobStep {
  readonly name?: string;
  readonly command?: readonly Template[];
  readonly env?: Readonly<Record<string, Template>>;
  readonly inputs?: readonly InputSource[];
  readonly from?: readonly FromSource[];
  readonly outputs?: readonly OutputSource[];
  readonly checkpoint?: { readonly patterns?: readonly Template[]; readonly intervalSeconds?: number };
  readonly reuse?: boolean;
  readonly resources?: Resources;
  readonly timeLimitSeconds?: number;
  readonly timeRequestSeconds?: number;
  readonly memoryLimit?: number;
  readonly retry?: RetryPolicy;
  readonly priority?: number;
  readonly notBefore?: string;
  readonly after?: readonly Dependency[];
  readonly tasks?: TaskList;
}

/** All that one `submit` sends: its steps become submissions, all of them or none. */
export interface Job {
  readonly project?: string;
  readonly steps: readonly JobStep[];
}

/** `over` where it says something, else `under`. Environment and resources are joined name by name. */
export function mergeSteps(under: JobStep, over: JobStep): JobStep {
  return {
    ...under,
    ...over,
    ...joined('env', under.env, over.env),
    ...joined('retry', under.retry, over.retry),
    ...joined('checkpoint', under.checkpoint, over.checkpoint),
    ...joined('resources', under.resources, over.resources),
    ...(under.resources && over.resources ? { resources: mergeResources(under.resources, over.resources) } : {}),
  };
}

function mergeResources(under: Resources, over: Resources): Resources {
  return {
    ...under,
    ...over,
    ...joined('named', under.named, over.named),
    ...joined('labels', under.labels, over.labels),
  };
}

function joined<Key extends string, T extends object>(key: Key, under: T | undefined, over: T | undefined) {
  if (!under && !over) return {};
  return { [key]: { ...under, ...over } } as { [K in Key]: T };
}
