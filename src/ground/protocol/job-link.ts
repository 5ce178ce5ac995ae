/** A job as somebody sees it who has its secret link, and no token. */
import Type from 'typebox';
import { JobState } from './job-state.ts';
import { Bytes, Count, closed, Name, nullable, Time } from './schema.ts';
import { Progress } from './task.ts';
import { TaskStatus } from './task-state.ts';

/** A wrong secret and an unknown job get the same answer, in the same time. */
export const LinkParams = closed({
  project: Name,
  number: Type.String({ pattern: '^[0-9.]+$', maxLength: 64 }),
  secret: Type.String({ maxLength: 128 }),
});

/** What the job computes now, or computed last, as tasks of the pool: the first of them. */
export const LinkTask = closed({ id: Type.String(), state: TaskStatus, exitCode: nullable(Type.Integer()) });

export const LinkView = closed({
  project: Type.String(),
  number: Type.String(),
  service: Type.String(),
  /** Of the service. */
  title: nullable(Type.String()),
  name: nullable(Type.String()),
  state: JobState,
  /** Somebody wants it to end. */
  cancelling: Type.Boolean(),
  createdAt: Time,
  startedAt: nullable(Time),
  finishedAt: nullable(Time),
  progress: nullable(Progress),
  parameters: Type.Record(Type.String(), Type.Unknown()),
  /** What the form calls the parameters, in its order. */
  labels: Type.Array(closed({ name: Type.String(), label: Type.String() })),
  /** What its hooks have logged: the end of it. */
  log: nullable(Type.String()),
  tasks: Type.Array(LinkTask),
  /** Null while there are none, and when they are not to be had any more. `until`: when they go. */
  results: nullable(closed({ files: Count, bytes: Bytes, until: nullable(Time) })),
  /** What became of the results, in a sentence: that they are there, are still to come, or are gone. */
  message: Type.String(),
  /** When to look again; null: nothing changes any more. */
  retryAfterSeconds: nullable(Count),
});
export type LinkView = Type.Static<typeof LinkView>;

export const LinkResults = closed({
  /** Paths in the job's directory, in order. */
  files: Type.Array(closed({ path: Type.String(), size: Bytes })),
  bytes: Bytes,
  until: nullable(Time),
});
export type LinkResults = Type.Static<typeof LinkResults>;
