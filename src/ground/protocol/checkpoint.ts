import Type from 'typebox';
import { OutputFile } from './output-file.ts';
import { Bytes, closed, TaskIdText, Time } from './schema.ts';

/** Files that a running attempt left so far, uploaded already. The newest two of a task are kept. */
export const CheckpointRequest = closed({
  task: TaskIdText,
  attempt: Type.Integer({ minimum: 1 }),
  secret: Type.String({ maxLength: 128 }),
  /** Grows with each checkpoint of an attempt; a repeated one changes nothing. */
  number: Type.Integer({ minimum: 1 }),
  files: Type.Array(OutputFile, { minItems: 1, maxItems: 10_000 }),
});
export type CheckpointRequest = Type.Static<typeof CheckpointRequest>;

/** `stale-attempt`: the attempt is no longer the task's last one, and nothing was changed. */
export const CheckpointReply = closed({
  answer: Type.Union([Type.Literal('kept'), Type.Literal('stale-attempt')]),
});
export type CheckpointReply = Type.Static<typeof CheckpointReply>;

/** Which checkpoint: of which attempt, and which of it. */
export const CheckpointId = closed({
  attempt: Type.Integer({ minimum: 1 }),
  number: Type.Integer({ minimum: 1 }),
});
export type CheckpointId = Type.Static<typeof CheckpointId>;

/** What a claim carries, newest first: put the first that can be put back into the sandbox. */
export const Checkpoint = closed({ ...CheckpointId.properties, files: Type.Array(OutputFile) });
export type Checkpoint = Type.Static<typeof Checkpoint>;

export const CheckpointView = closed({
  ...CheckpointId.properties,
  at: Time,
  files: Type.Array(Type.String()),
  bytes: Bytes,
  /** An attempt that began from it failed without getting further: the one before it is used. */
  suspect: Type.Boolean(),
});
export type CheckpointView = Type.Static<typeof CheckpointView>;
