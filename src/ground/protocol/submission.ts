import Type from 'typebox';
import { MAX_ITEMS } from './limits.ts';
import { Count, closed, Name, nullable, Time } from './schema.ts';
import { InputFile, TaskSpec } from './spec.ts';
import { StateCounts } from './task-state.ts';

export { MAX_ITEMS, MAX_PAYLOAD_DEPTH, MAX_TASKS } from './limits.ts';

/** Tasks with the indices first, first + step, … up to last, all alike. */
export const ArrayRange = closed({
  first: Type.Integer({ minimum: 0, maximum: 1_000_000_000 }),
  last: Type.Integer({ minimum: 0, maximum: 1_000_000_000 }),
  step: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000_000 })),
});
export type ArrayRange = Type.Static<typeof ArrayRange>;

/** One task of a list: what is its own. Inputs here come besides those of the spec. */
export const Item = closed({
  payload: Type.Optional(Type.Unknown()),
  inputs: Type.Optional(Type.Array(InputFile, { maxItems: 10_000 })),
});
export type Item = Type.Static<typeof Item>;

/** A submission or one task that must succeed first. `step` names another step of the same request. */
export const Dependency = Type.Union([
  closed({ submission: Type.Integer({ minimum: 1 }), index: Type.Optional(Count) }),
  closed({ step: Type.String({ minLength: 1, maxLength: 128 }) }),
]);
export type Dependency = Type.Static<typeof Dependency>;

export const Step = closed({
  name: Type.Optional(Type.String({ minLength: 1, maxLength: 128 })),
  spec: TaskSpec,
  array: Type.Optional(ArrayRange),
  items: Type.Optional(Type.Array(Item, { maxItems: MAX_ITEMS })),
  priority: Type.Optional(Type.Integer({ minimum: -1_000_000, maximum: 1_000_000 })),
  notBefore: Type.Optional(Time),
  after: Type.Optional(Type.Array(Dependency, { maxItems: 10_000 })),
  /** Tasks that ask the same as one that succeeded get its answer and are not run. */
  reuse: Type.Optional(Type.Boolean()),
});
export type Step = Type.Static<typeof Step>;

/**
 * One `submit`: its steps become submissions, all of them or none. `requestId` makes a repeated request harmless.
 * With `open`, more items follow in chunks (`POST /submissions/{id}/items`) until the request is closed
 * (`POST /submissions/{id}/close`); until then nothing of it is visible or claimed.
 */
export const SubmitRequest = closed({
  project: Type.Optional(Name),
  requestId: Type.Optional(Type.String({ minLength: 8, maxLength: 128 })),
  steps: Type.Array(Step, { minItems: 1, maxItems: 1000 }),
  open: Type.Optional(Type.Boolean()),
  strict: Type.Optional(Type.Boolean()),
});
export type SubmitRequest = Type.Static<typeof SubmitRequest>;

export const ItemsRequest = closed({
  /** How many items the submission had before this chunk; a repeated chunk is recognised by it. */
  offset: Count,
  items: Type.Array(Item, { minItems: 1, maxItems: MAX_ITEMS }),
});
export type ItemsRequest = Type.Static<typeof ItemsRequest>;

export const SubmissionView = closed({
  id: Type.Integer(),
  project: Type.String(),
  name: nullable(Type.String()),
  owner: Type.String(),
  tasks: Count,
  /** So many of them were answered from earlier tasks that asked the same. */
  reused: Count,
  counts: StateCounts,
  finished: Type.Boolean(),
  priority: Type.Integer(),
  after: Type.Array(Type.String()),
  submittedAt: Time,
  notBefore: nullable(Time),
});
export type SubmissionView = Type.Static<typeof SubmissionView>;

export const SubmitReply = closed({ submissions: Type.Array(SubmissionView), warnings: Type.Array(Type.String()) });
export type SubmitReply = Type.Static<typeof SubmitReply>;
