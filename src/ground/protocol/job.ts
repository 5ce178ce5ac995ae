/** Jobs: managed computations with a life cycle and a record, run at a site. */
import Type from 'typebox';
import { JobState } from './job-state.ts';
import { Bytes, Count, closed, DigestText, nullable, Time } from './schema.ts';
import { ServiceJobFacts } from './service.ts';
import { TaskSpec } from './spec.ts';
import { Progress } from './task.ts';

export { JOB_STATES, JobState } from './job-state.ts';

/** How far an attempt at a site is. `login`: it waits until somebody enters a password or a code for its site. */
export const SITE_PHASES = ['login', 'staging', 'submitting', 'pending', 'running', 'fetching', 'merging'] as const;
export type SitePhase = (typeof SITE_PHASES)[number];
export const SitePhase = Type.Unsafe<SitePhase>(Type.Union(SITE_PHASES.map((phase) => Type.Literal(phase))));

/** A process of a job. CPU and elapsed time in seconds, memory in bytes; null is not known. */
export const ProcessView = closed({
  pid: nullable(Count),
  parent: nullable(Count),
  command: Type.String({ maxLength: 1000 }),
  cpuSeconds: nullable(Type.Number({ minimum: 0 })),
  memory: nullable(Bytes),
  elapsedSeconds: nullable(Type.Number({ minimum: 0 })),
});
export type ProcessView = Type.Static<typeof ProcessView>;

/** Where an attempt is that lives in a batch system or on another machine, as its agent last saw it. */
export const SiteState = closed({
  phase: SitePhase,
  machine: Type.Optional(Type.String({ maxLength: 256 })),
  batchId: Type.Optional(Type.String({ maxLength: 128 })),
  /** What the batch system says, or what is in the way and what the agent does about it. */
  detail: Type.Optional(Type.String({ maxLength: 2000 })),
  /** The batch system will not start it as it is. */
  hopeless: Type.Optional(Type.Boolean()),
  /** Of a pilot: where it ran, in the batch system's words. */
  node: Type.Optional(Type.String({ maxLength: 256 })),
  /** Sent while somebody looks. */
  processes: Type.Optional(Type.Array(ProcessView, { maxItems: 1000 })),
  processesAt: Type.Optional(Time),
});
export type SiteState = Type.Static<typeof SiteState>;

const EntryId = Type.String({ minLength: 1, maxLength: 128 });

/** What happened in a job. Each entry has an id of its own, so that the same thing merged twice is there once. */
export const RecordEntry = Type.Union([
  closed({
    kind: Type.Literal('process'),
    id: EntryId,
    host: Type.String({ maxLength: 256 }),
    pid: Count,
    startedAt: Time,
  }),
  closed({
    kind: Type.Literal('step'),
    id: EntryId,
    name: Type.String({ maxLength: 1000 }),
    startedAt: Type.Optional(Time),
    finishedAt: Type.Optional(Time),
    exitCode: Type.Optional(Type.Integer()),
  }),
  closed({
    kind: Type.Literal('file'),
    id: EntryId,
    path: Type.String({ maxLength: 4096 }),
    role: Type.Union([Type.Literal('input'), Type.Literal('output')]),
    digest: Type.Optional(DigestText),
    size: Type.Optional(Bytes),
  }),
  closed({ kind: Type.Literal('note'), id: EntryId, at: Time, text: Type.String({ maxLength: 4000 }) }),
]);
export type RecordEntry = Type.Static<typeof RecordEntry>;

/** A job as it travels: `uid` is the same everywhere, `number` is its number where it was made. */
export const RecordedJob = closed({
  uid: Type.String({ pattern: '^[A-Za-z0-9-]{8,64}$' }),
  parent: nullable(Type.String({ maxLength: 64 })),
  number: Type.String({ pattern: '^[1-9][0-9]*(\\.[1-9][0-9]*)*$', maxLength: 64 }),
  name: nullable(Type.String({ maxLength: 256 })),
  owner: Type.String({ maxLength: 256 }),
  state: JobState,
  reason: Type.Optional(Type.String({ maxLength: 4000 })),
  command: Type.Optional(Type.Array(Type.String())),
  createdAt: Time,
  startedAt: Type.Optional(Time),
  finishedAt: Type.Optional(Time),
  entries: Type.Array(RecordEntry, { maxItems: 100_000 }),
});
export type RecordedJob = Type.Static<typeof RecordedJob>;

/** A job's fragment of the database: the job first, then its sub-jobs. */
export const JobRecord = closed({
  format: Type.Literal('pilotage-record/1'),
  project: closed({ uid: Type.String({ maxLength: 64 }), name: Type.String({ maxLength: 128 }) }),
  jobs: Type.Array(RecordedJob, { minItems: 1, maxItems: 10_000 }),
});
export type JobRecord = Type.Static<typeof JobRecord>;

/**
 * What became of each job of a record: `merged`, `unchanged` (it was all here), or `late`: the job had ended here
 * already, keeps its state, and what came was kept aside. `number` is its number here.
 */
export const RecordReply = closed({
  jobs: Type.Array(
    closed({
      uid: Type.String(),
      number: Type.String(),
      answer: Type.Union([Type.Literal('merged'), Type.Literal('unchanged'), Type.Literal('late')]),
    }),
  ),
});
export type RecordReply = Type.Static<typeof RecordReply>;

/** `spec.site` says where; `requestId` makes a repeated request the same job. */
export const JobRequest = closed({
  name: Type.Optional(Type.String({ minLength: 1, maxLength: 256 })),
  requestId: Type.Optional(Type.String({ minLength: 1, maxLength: 128 })),
  spec: TaskSpec,
});
export type JobRequest = Type.Static<typeof JobRequest>;

export const JobView = closed({
  number: Type.String(),
  uid: Type.String(),
  project: Type.String(),
  name: nullable(Type.String()),
  owner: Type.String(),
  state: JobState,
  site: nullable(Type.String()),
  machine: nullable(Type.String()),
  batchId: nullable(Type.String()),
  phase: nullable(SitePhase),
  detail: nullable(Type.String()),
  progress: nullable(Progress),
  /** The task that it runs as; a sub-job has none. */
  task: nullable(Type.String()),
  attempt: Count,
  exitCode: nullable(Type.Integer()),
  reason: nullable(Type.String()),
  createdAt: Time,
  startedAt: nullable(Time),
  finishedAt: nullable(Time),
  /** The service that it is a job of. */
  service: nullable(Type.String()),
});
export type JobView = Type.Static<typeof JobView>;

export const JobDetail = closed({
  ...JobView.properties,
  command: nullable(Type.Array(Type.String())),
  message: nullable(Type.String()),
  entries: Type.Array(RecordEntry),
  jobs: Type.Array(JobView),
  /** Records that came after the job had ended here. */
  late: Type.Array(closed({ receivedAt: Time, entries: Count })),
  /** What only a service's job has. */
  serviceJob: nullable(ServiceJobFacts),
});
export type JobDetail = Type.Static<typeof JobDetail>;

export const JobPage = closed({ jobs: Type.Array(JobView), next: nullable(Type.String()) });
export type JobPage = Type.Static<typeof JobPage>;

/** The processes of running jobs; `at` is when the agent looked, null before it has. */
export const JobProcesses = closed({
  number: Type.String(),
  project: Type.String(),
  site: nullable(Type.String()),
  machine: nullable(Type.String()),
  batchId: nullable(Type.String()),
  phase: nullable(SitePhase),
  at: nullable(Time),
  processes: Type.Array(ProcessView),
});
export type JobProcesses = Type.Static<typeof JobProcesses>;
