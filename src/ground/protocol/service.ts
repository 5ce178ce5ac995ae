/** Services: modules that define one kind of job by its hooks, the hosts that run them, and their jobs' life. */
import Type from 'typebox';
import { MAIL_ADDRESS } from '../base/mail-address.ts';
import { JobState } from './job-state.ts';
import { Bytes, Count, closed, DigestText, nullable, Seconds, Time } from './schema.ts';
import { Progress } from './task.ts';

export const ServiceName = Type.String({ pattern: '^[a-z][a-z0-9-]*$', minLength: 1, maxLength: 40 });
const Path = Type.String({ minLength: 1, maxLength: 4096 });
const JobNumber = Type.String({ pattern: '^[0-9.]+$', maxLength: 64 });
const Reason = Type.String({ maxLength: 4000 });
/** JSON with keys of the service's own. */
const Fields = Type.Record(Type.String(), Type.Unknown());

const MailAddress = Type.String({ maxLength: 256, pattern: MAIL_ADDRESS });
const WebhookUrl = Type.String({ maxLength: 2048, pattern: '^https?://[^\\s/@]+(/[^\\s]*)?$' });

/** The process that runs a service's hooks. `process` tells it from all others, also from later ones with its number. */
export const HostFacts = closed({
  host: Type.String({ maxLength: 256 }),
  pid: Count,
  process: Type.String({ maxLength: 1024 }),
  version: Type.String({ maxLength: 64 }),
});
export type HostFacts = Type.Static<typeof HostFacts>;

/** `parameters` is a JSON schema. Times count from a job's end; null is for ever. */
export const HostRequest = closed({
  host: HostFacts,
  title: nullable(Type.String({ maxLength: 256 })),
  parameters: Fields,
  /** Where directories are put whose jobs are to be added. */
  incoming: nullable(Path),
  archiveSeconds: nullable(Seconds),
  expireSeconds: nullable(Seconds),
  /** So many unfinished jobs it takes, and so many of one user: new ones are refused (`busy`). */
  limits: Type.Optional(
    closed({
      waiting: Type.Optional(Type.Integer({ minimum: 1 })),
      perUser: Type.Optional(Type.Integer({ minimum: 1 })),
    }),
  ),
  /** The session of a host that is known to be dead. */
  takeOver: Type.Optional(Count),
  /** `admins` are told of failures; `users`: whoever a job is for is told when it is complete. */
  mail: Type.Optional(closed({ admins: Type.Array(MailAddress, { maxItems: 20 }), users: Type.Boolean() })),
  /** Called at every end of a job. */
  webhooks: Type.Optional(Type.Array(WebhookUrl, { maxItems: 20 })),
});
export type HostRequest = Type.Static<typeof HostRequest>;

/** `session` is the fence: the next host has a higher one, and this one's changes are refused from then on. */
export const HostReply = closed({
  session: Count,
  secret: Type.String(),
  leaseSeconds: Type.Number(),
  now: Time,
  /** What whoever runs the host should know. */
  warnings: Type.Array(Type.String()),
});
export type HostReply = Type.Static<typeof HostReply>;

export const ServiceView = closed({
  name: Type.String(),
  project: Type.String(),
  title: nullable(Type.String()),
  /** The page where people add jobs. */
  url: Type.String(),
  parameters: Fields,
  incoming: nullable(Type.String()),
  archiveSeconds: nullable(Type.Number()),
  expireSeconds: nullable(Type.Number()),
  /** Null when none was heard of for longer than its lease. */
  host: nullable(closed({ ...HostFacts.properties, session: Count, since: Time })),
  endedAt: nullable(Time),
  endReason: nullable(Type.String()),
  /** How many jobs are in each state. */
  counts: Type.Record(Type.String(), Count),
  /** Mails and calls of web hooks: still to be delivered, given up, and why. */
  notices: closed({ waiting: Count, failed: Count, lastError: nullable(Type.String()) }),
});
export type ServiceView = Type.Static<typeof ServiceView>;

export const WISHES = ['cancel', 'fail', 'resubmit', 'delete'] as const;
const Wish = Type.Unsafe<(typeof WISHES)[number]>(Type.Union(WISHES.map((wish) => Type.Literal(wish))));
const AnyWish = Type.Unsafe<(typeof WISHES)[number] | 'archive' | 'expire'>(
  Type.Union([...WISHES, 'archive', 'expire'].map((wish) => Type.Literal(wish))),
);

/** The hook that failed, what it said and where. `hook` may be `move`: the directory could not be moved. */
export const JobFailure = closed({
  hook: Type.String({ maxLength: 64 }),
  message: Type.String({ maxLength: 16_000 }),
  stack: nullable(Type.String({ maxLength: 64_000 })),
});
export type JobFailure = Type.Static<typeof JobFailure>;

/** A file that came with a job: its name in the job's directory, and its bytes. */
export const JobFile = closed({ name: Type.String({ minLength: 1, maxLength: 255 }), digest: DigestText, size: Bytes });
export type JobFile = Type.Static<typeof JobFile>;

/** What people may fetch of a complete job: a directory as a blob, how many files are in it, and their bytes. */
export const JobResults = closed({ tree: DigestText, files: Count, bytes: Bytes });
export type JobResults = Type.Static<typeof JobResults>;

/** A job as its host gets it. */
export const HostJob = closed({
  id: Count,
  number: JobNumber,
  uid: Type.String(),
  name: nullable(Type.String()),
  owner: Type.String(),
  contact: nullable(Type.String()),
  createdAt: Time,
  state: JobState,
  intent: nullable(JobState),
  step: Count,
  run: Count,
  wish: nullable(AnyWish),
  wishReason: nullable(Reason),
  waiting: Count,
  settled: Type.Boolean(),
  directory: nullable(Type.String()),
  target: nullable(Type.String()),
  parameters: Fields,
  /** To be put into its directory before its first hook. */
  inputs: Type.Array(JobFile),
  /** The page of the job, with its secret: whoever has it sees the results. */
  url: Type.String(),
  metadata: Fields,
  /** What `rescheduleRun` was given; null when this is the first run. */
  data: Type.Unknown(),
  runner: Type.Unknown(),
});
export type HostJob = Type.Static<typeof HostJob>;

export const HostPollRequest = closed({
  after: Count,
  nudged: Count,
  waitSeconds: Type.Number({ minimum: 0, maximum: 60 }),
});
export const HostPollReply = closed({ jobs: Type.Array(HostJob), after: Count, nudged: Count, now: Time });
export type HostPollReply = Type.Static<typeof HostPollReply>;

const ChangeKind = Type.Unsafe<'begin' | 'arrive' | 'settle' | 'tell' | 'gone'>(
  Type.Union(['begin', 'arrive', 'settle', 'tell', 'gone'].map((kind) => Type.Literal(kind))),
);
/** `{link}` in the text becomes the address of the job's results. */
export const OwnMail = closed({
  subject: Type.Optional(Type.String({ maxLength: 1000 })),
  text: Type.String({ maxLength: 100_000 }),
});
export type OwnMail = Type.Static<typeof OwnMail>;

/**
 * What a host says of a job. `begin` is committed before the directory moves, `arrive` after it; `settle` when the hook
 * of a state is through in which a job rests; `gone` when nothing of it is left.
 */
export const JobChange = closed({
  id: Count,
  kind: ChangeKind,
  step: Count,
  to: Type.Optional(JobState),
  directory: Type.Optional(nullable(Path)),
  target: Type.Optional(nullable(Path)),
  metadata: Type.Optional(Fields),
  data: Type.Optional(Type.Unknown()),
  runner: Type.Optional(Type.Unknown()),
  progress: Type.Optional(nullable(Progress)),
  failure: Type.Optional(JobFailure),
  /** Uploaded already. */
  results: Type.Optional(JobResults),
  /** The end of what its hooks have logged so far. */
  log: Type.Optional(Type.String({ maxLength: 70_000 })),
  /** With `settle` in COMPLETED: what the user is told in place of the usual; null: nothing. */
  mail: Type.Optional(nullable(OwnMail)),
});
export type JobChange = Type.Static<typeof JobChange>;

export const ChangesRequest = closed({ changes: Type.Array(JobChange, { maxItems: 1000 }) });
export const ChangesReply = closed({
  results: Type.Array(
    closed({ ok: Type.Boolean(), refusal: Type.Optional(Type.String()), wish: Type.Optional(nullable(AnyWish)) }),
  ),
});

/** Which of these jobs the service has, and where. */
export const KnownRequest = closed({ jobs: Type.Array(JobNumber, { maxItems: 1000 }) });
export const KnownReply = closed({
  jobs: Type.Array(closed({ number: JobNumber, uid: Type.String(), directory: nullable(Type.String()) })),
});

/**
 * A job of a service. Its input is the name of a directory in the service's incoming one, or files whose bytes were
 * uploaded; without either the job begins with an empty directory. `requestId` makes a repeated request the same job.
 * As a form (multipart/form-data) the fields are the parameters, with files where a parameter stands for files, and
 * `job.name`, `job.contact`, `job.requestId` for the rest.
 */
export const ServiceJobRequest = closed({
  name: Type.Optional(Type.String({ minLength: 1, maxLength: 256, pattern: '^[^\\u0000]*$' })),
  requestId: Type.Optional(Type.String({ minLength: 8, maxLength: 128, pattern: '^[^\\u0000]*$' })),
  parameters: Type.Optional(Fields),
  contact: Type.Optional(MailAddress),
  directory: Type.Optional(Type.String({ minLength: 1, maxLength: 255, pattern: '^[^\\u0000]*$' })),
  files: Type.Optional(Type.Array(JobFile, { maxItems: 10_000 })),
  /** Numbers of jobs that have to be complete first. */
  after: Type.Optional(Type.Array(JobNumber, { maxItems: 1000 })),
});
export type ServiceJobRequest = Type.Static<typeof ServiceJobRequest>;

/** `link` is the job's page: whoever has it sees the job and fetches its results. `secret` is the last part of it. */
export const ServiceJobReply = closed({
  number: JobNumber,
  project: Type.String(),
  service: ServiceName,
  secret: Type.String(),
  link: Type.String(),
});
export type ServiceJobReply = Type.Static<typeof ServiceJobReply>;

/** What somebody needs to know who wants to add a job. `parameters` is a JSON schema. */
export const ServiceForm = closed({
  name: Type.String(),
  project: Type.String(),
  title: nullable(Type.String()),
  parameters: Fields,
  /** Jobs are taken up now; else when somebody hosts the service again. */
  hosted: Type.Boolean(),
});
export type ServiceForm = Type.Static<typeof ServiceForm>;

/** A job in the queue of its service. Names, and the secret of the link, are told to those only who may read the project. */
export const QueuedJob = closed({
  number: JobNumber,
  secret: nullable(Type.String()),
  name: nullable(Type.String()),
  state: JobState,
  progress: nullable(Progress),
  createdAt: Time,
  finishedAt: nullable(Time),
});
export type QueuedJob = Type.Static<typeof QueuedJob>;

export const ServiceQueue = closed({
  title: nullable(Type.String()),
  hosted: Type.Boolean(),
  counts: Type.Record(Type.String(), Count),
  /** Newest first. */
  jobs: Type.Array(QueuedJob),
  next: nullable(Type.String()),
});
export type ServiceQueue = Type.Static<typeof ServiceQueue>;

export const WishRequest = closed({
  wish: Wish,
  jobs: Type.Optional(Type.Array(JobNumber, { maxItems: 10_000 })),
  /** All of its jobs that can. */
  service: Type.Optional(ServiceName),
  reason: Type.Optional(Reason),
});
export const WishReply = closed({
  wished: Type.Array(JobNumber),
  refused: Type.Array(closed({ number: JobNumber, why: Type.String() })),
  /** Of the jobs' services, those that nobody hosts: there it happens when somebody does. */
  unhosted: Type.Array(ServiceName),
});
export type WishReply = Type.Static<typeof WishReply>;

export const ServiceJobFacts = closed({
  contact: nullable(Type.String()),
  directory: nullable(Type.String()),
  intent: nullable(JobState),
  wish: nullable(Type.String()),
  run: Count,
  parameters: Fields,
  metadata: Fields,
  /** When it came into each state. */
  times: Type.Record(Type.String(), Time),
  waitsFor: Type.Array(JobNumber),
  dueAt: nullable(Time),
  runner: Type.Unknown(),
  failure: nullable(JobFailure),
  /** The job's page, with its secret. */
  link: Type.String(),
  results: nullable(JobResults),
});
export type ServiceJobFacts = Type.Static<typeof ServiceJobFacts>;
