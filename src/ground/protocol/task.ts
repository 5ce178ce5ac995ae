import Type from 'typebox';
import { CheckpointView } from './checkpoint.ts';
import { OutputFile } from './output-file.ts';
import { Bytes, Count, closed, nullable, Time } from './schema.ts';
import { TaskSpec } from './spec.ts';
import { TaskStatus } from './task-state.ts';

export { OutputFile } from './output-file.ts';

export const Progress = closed({
  fraction: Type.Optional(Type.Number({ minimum: 0, maximum: 1 })),
  message: Type.Optional(Type.String({ maxLength: 1000 })),
});
export type Progress = Type.Static<typeof Progress>;

/** One execution of a task, as it ended (or goes on). Times of CPU and wall in seconds, memory in bytes. */
export const AttemptView = closed({
  attempt: Type.Integer(),
  outcome: Type.String(),
  worker: nullable(Type.String()),
  host: nullable(Type.String()),
  startedAt: nullable(Time),
  endedAt: nullable(Time),
  exitCode: nullable(Type.Integer()),
  signal: nullable(Type.String()),
  reason: nullable(Type.String()),
  message: nullable(Type.String()),
  wallSeconds: nullable(Type.Number()),
  cpuSeconds: nullable(Type.Number()),
  peakMemory: nullable(Bytes),
  outputs: Type.Array(OutputFile),
});
export type AttemptView = Type.Static<typeof AttemptView>;

/** The line of a task in a list. */
export const TaskView = closed({
  id: Type.String(),
  submission: Type.Integer(),
  index: Type.Integer(),
  project: Type.String(),
  name: nullable(Type.String()),
  state: TaskStatus,
  attempt: Type.Integer(),
  exitCode: nullable(Type.Integer()),
  reason: nullable(Type.String()),
  submittedAt: Time,
  startedAt: nullable(Time),
  finishedAt: nullable(Time),
  worker: nullable(Type.String()),
  progress: nullable(Progress),
});
export type TaskView = Type.Static<typeof TaskView>;

/** A report that came too late and was kept aside; `task accept` makes it the outcome of a task that failed meanwhile. */
export const LateReportView = closed({
  attempt: Type.Integer(),
  receivedAt: Time,
  refusal: Type.String(),
  outcome: Type.String(),
  exitCode: nullable(Type.Integer()),
});
export type LateReportView = Type.Static<typeof LateReportView>;

export const TaskDetail = closed({
  ...TaskView.properties,
  owner: Type.String(),
  priority: Type.Integer(),
  spec: TaskSpec,
  payload: Type.Unknown(),
  message: nullable(Type.String()),
  signal: nullable(Type.String()),
  failures: Count,
  losses: Count,
  plannedEnds: Count,
  notBefore: nullable(Time),
  outputs: Type.Array(OutputFile),
  /** The task with the same question whose answer this one got (`--reuse`). */
  reusedFrom: nullable(Type.String()),
  checkpoints: Type.Array(CheckpointView),
  attempts: Type.Array(AttemptView),
  late: Type.Array(LateReportView),
});
export type TaskDetail = Type.Static<typeof TaskDetail>;

export const TaskPage = closed({ tasks: Type.Array(TaskView), next: nullable(Type.String()) });
export type TaskPage = Type.Static<typeof TaskPage>;

/** The files of one task, as `results` fetches them. */
export const TaskOutputs = closed({
  id: Type.String(),
  index: Type.Integer(),
  state: TaskStatus,
  attempt: Type.Integer(),
  outputs: Type.Array(OutputFile),
});
export type TaskOutputs = Type.Static<typeof TaskOutputs>;

export const ResultsPage = closed({ tasks: Type.Array(TaskOutputs), next: nullable(Type.String()) });
export type ResultsPage = Type.Static<typeof ResultsPage>;

/** Which tasks a command acts on: submissions and tasks by name, or all of a project, narrowed to some states. */
export const Selection = closed({
  targets: Type.Optional(Type.Array(Type.String({ maxLength: 32 }), { maxItems: 10_000 })),
  all: Type.Optional(Type.Boolean()),
  project: Type.Optional(Type.String({ maxLength: 128 })),
});
export type Selection = Type.Static<typeof Selection>;

export const ChangedReply = closed({ changed: Count });
export type ChangedReply = Type.Static<typeof ChangedReply>;

/** One reason of `why`, most telling first. */
export const WhyReason = closed({
  code: Type.String(),
  text: Type.String(),
  numbers: Type.Record(Type.String(), Type.Number()),
});
export type WhyReason = Type.Static<typeof WhyReason>;
export const WhyReply = closed({ id: Type.String(), state: TaskStatus, reasons: Type.Array(WhyReason) });
export type WhyReply = Type.Static<typeof WhyReply>;
