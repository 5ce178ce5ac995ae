import Type from 'typebox';
import { AuditPage, AuditQuery } from './audit.ts';
import { CopyStarted, ImportReply, ImportRequest, ImportStarted, ServerIdentity } from './backup.ts';
import { MissingReply, MissingRequest, ProjectUsage, QuotaRequest, UploadId, UploadState } from './blob.ts';
import { CheckpointReply, CheckpointRequest } from './checkpoint.ts';
import { ExchangeReply, ExchangeRequest, RegisterReply, RegisterRequest } from './exchange.ts';
import { JobDetail, JobPage, JobProcesses, JobRecord, JobRequest, JobView, RecordReply } from './job.ts';
import { LinkParams, LinkResults, LinkView } from './job-link.ts';
import { PilotSettingsRequest, PilotsView, SiteName } from './pilot.ts';
import {
  ProjectCredentials,
  ProjectMembers,
  ProjectRequest,
  ProjectView,
  StatusView,
  TokenLimits,
  TokenLimitsRequest,
  TransferRequest,
} from './project.ts';
import { Bytes, Count, closed, DigestText, Name, UserName } from './schema.ts';
import { StopReply } from './server-stop.ts';
import {
  ChangesReply,
  ChangesRequest,
  HostPollReply,
  HostPollRequest,
  HostReply,
  HostRequest,
  KnownReply,
  KnownRequest,
  ServiceForm,
  ServiceJobReply,
  ServiceJobRequest,
  ServiceName,
  ServiceQueue,
  ServiceView,
  WishReply,
  WishRequest,
} from './service.ts';
import { ProjectLimitRequest, ShareRequest, ShareView } from './share.ts';
import { ItemsRequest, SubmissionView, SubmitReply, SubmitRequest } from './submission.ts';
import { ChangedReply, ResultsPage, Selection, TaskDetail, TaskPage, WhyReply } from './task.ts';
import { TaskStatus } from './task-state.ts';
import { NewToken, TokenRequest, TokenView } from './token.ts';
import {
  LoginReply,
  LoginRequest,
  PasswordReply,
  PasswordRequest,
  RemovedUser,
  RoleRequest,
  UserRequest,
  UserView,
  WhoAmI,
} from './user.ts';
import { WorkerSelection, WorkerView } from './worker.ts';
import { HoldsRequest, SourceReply, SourceRequest, TicketKeys } from './zone.ts';

const SubmissionParams = closed({ id: Type.Integer({ minimum: 1 }) });
const TaskParams = closed({ id: Type.String({ maxLength: 32 }) });
const JobNumber = Type.String({ pattern: '^[0-9.]+$', maxLength: 64 });
const ServiceParams = closed({ project: Name, service: ServiceName });
const HostParams = closed({ project: Name, service: ServiceName, session: Type.String({ pattern: '^[0-9]{1,15}$' }) });
const MemberParams = closed({ project: Name, user: UserName });
const UserParams = closed({ user: UserName });
const BlobParams = closed({ project: Name, digest: DigestText });
const CopyId = Type.String({ pattern: '^[0-9a-f-]{36}$' });
const CopyParams = closed({ id: CopyId });
const Page = {
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000 })),
  after: Type.Optional(Type.String({ maxLength: 64 })),
};

/** The whole API in one table. */
export const routes = {
  status: {
    method: 'GET',
    path: '/status',
    summary: 'The pool at a glance',
    query: closed({ project: Type.Optional(Name) }),
    reply: StatusView,
  },

  submit: {
    method: 'POST',
    path: '/submissions',
    summary: 'Submit tasks: all of one request or none',
    body: SubmitRequest,
    reply: SubmitReply,
    status: 201,
  },
  addItems: {
    method: 'POST',
    path: '/submissions/:id/items',
    summary: 'Add a chunk of items to a submission that is still open',
    params: SubmissionParams,
    body: ItemsRequest,
    reply: SubmissionView,
  },
  closeSubmission: {
    method: 'POST',
    path: '/submissions/:id/close',
    summary: 'Complete an open submission: from here on it is accepted and visible',
    params: SubmissionParams,
    reply: SubmissionView,
  },
  submission: {
    method: 'GET',
    path: '/submissions/:id',
    summary: 'One submission; with waitSeconds the answer waits until it is finished or something of it changes',
    params: SubmissionParams,
    query: closed({
      waitSeconds: Type.Optional(Type.Number({ minimum: 0, maximum: 60 })),
      finishedOnly: Type.Optional(Type.Boolean()),
    }),
    reply: SubmissionView,
  },
  submissions: {
    method: 'GET',
    path: '/submissions',
    summary: 'Submissions, newest first',
    query: closed({ project: Type.Optional(Name), ...Page }),
    reply: Type.Array(SubmissionView),
  },

  tasks: {
    method: 'GET',
    path: '/tasks',
    summary: 'Tasks, in order',
    query: closed({
      project: Type.Optional(Name),
      state: Type.Optional(TaskStatus),
      submission: Type.Optional(Type.Integer({ minimum: 1 })),
      ...Page,
    }),
    reply: TaskPage,
  },
  task: {
    method: 'GET',
    path: '/tasks/:id',
    summary: 'One task with its attempts',
    params: TaskParams,
    reply: TaskDetail,
  },
  why: {
    method: 'GET',
    path: '/tasks/:id/why',
    summary: 'Why a task (or the first unfinished one of a submission) is in its state',
    params: TaskParams,
    reply: WhyReply,
  },
  logs: {
    method: 'GET',
    path: '/tasks/:id/logs',
    summary: 'Output of a task as JSON lines; with follow until the task ends',
    params: TaskParams,
    query: closed({
      attempt: Type.Optional(Type.Integer({ minimum: 1 })),
      stream: Type.Optional(Type.String()),
      follow: Type.Optional(Type.Boolean()),
    }),
    raw: 'out',
  },
  results: {
    method: 'GET',
    path: '/results/:id',
    summary: 'Output files of a task or of all tasks of a submission',
    params: TaskParams,
    query: closed({ attempt: Type.Optional(Type.Integer({ minimum: 1 })), ...Page }),
    reply: ResultsPage,
  },
  cancel: { method: 'POST', path: '/tasks/cancel', summary: 'Cancel tasks', body: Selection, reply: ChangedReply },
  retry: {
    method: 'POST',
    path: '/tasks/retry',
    summary: 'Queue failed and cancelled tasks again',
    body: Selection,
    reply: ChangedReply,
  },
  forget: {
    method: 'POST',
    path: '/submissions/forget',
    summary: 'Remove finished submissions with their results, logs and checkpoints, for good',
    body: Selection,
    reply: ChangedReply,
  },
  acceptLate: {
    method: 'POST',
    path: '/tasks/:id/accept',
    summary: 'Make a report that was kept aside the outcome of a failed task',
    params: TaskParams,
    body: closed({ attempt: Type.Optional(Count) }),
    reply: TaskDetail,
  },

  createJob: {
    method: 'POST',
    path: '/projects/:project/jobs',
    summary: 'Start a job at a site',
    params: closed({ project: Name }),
    body: JobRequest,
    reply: JobView,
    status: 201,
  },
  jobs: {
    method: 'GET',
    path: '/projects/:project/jobs',
    summary: 'Jobs, newest first',
    params: closed({ project: Name }),
    query: closed({
      ...Page,
      service: Type.Optional(ServiceName),
      /** Several with commas. */
      state: Type.Optional(Type.String({ pattern: '^[A-Z,]+$', maxLength: 128 })),
    }),
    reply: JobPage,
  },
  jobProcesses: {
    method: 'GET',
    path: '/projects/:project/jobs/processes',
    summary: 'The processes of running jobs; their agents are asked to look while somebody asks',
    params: closed({ project: Name }),
    reply: Type.Array(JobProcesses),
  },
  job: {
    method: 'GET',
    path: '/projects/:project/jobs/:number',
    summary: 'One job with its record',
    params: closed({ project: Name, number: JobNumber }),
    reply: JobDetail,
  },
  jobRecord: {
    method: 'GET',
    path: '/projects/:project/jobs/:number/record',
    summary: "A job's fragment of the database, as it travels with the job",
    params: closed({ project: Name, number: JobNumber }),
    reply: JobRecord,
  },
  mergeRecord: {
    method: 'POST',
    path: '/projects/:project/records',
    summary: 'Merge the record of a job that came back: all of it or nothing, and twice is once',
    params: closed({ project: Name }),
    body: JobRecord,
    reply: RecordReply,
  },

  services: {
    method: 'GET',
    path: '/projects/:project/services',
    summary: 'Services',
    params: closed({ project: Name }),
    reply: Type.Array(ServiceView),
  },
  service: {
    method: 'GET',
    path: '/projects/:project/services/:service',
    summary: 'One service: what its jobs take, who runs it, how many jobs are in each state',
    params: ServiceParams,
    reply: ServiceView,
  },
  createServiceJob: {
    method: 'POST',
    path: '/projects/:project/services/:service/jobs',
    summary:
      'Add a job to a service, as JSON or as a form with its files; its input may be a directory that is there already',
    params: ServiceParams,
    body: ServiceJobRequest,
    alsoAsForm: true,
    reply: ServiceJobReply,
    status: 201,
  },
  serviceForm: {
    method: 'GET',
    path: '/projects/:project/services/:service/form',
    summary: 'What a job of a service takes',
    params: ServiceParams,
    reply: ServiceForm,
  },
  serviceQueue: {
    method: 'GET',
    path: '/projects/:project/services/:service/queue',
    summary: 'The jobs of a service, newest first, and how many are in each state',
    params: ServiceParams,
    query: closed({
      ...Page,
      /** Several with commas. */
      state: Type.Optional(Type.String({ pattern: '^[A-Z,]+$', maxLength: 128 })),
    }),
    reply: ServiceQueue,
  },
  link: {
    method: 'GET',
    path: '/links/:project/:number/:secret',
    summary: 'A job as its secret link shows it; no token is needed',
    params: LinkParams,
    open: true,
    reply: LinkView,
  },
  linkResults: {
    method: 'GET',
    path: '/links/:project/:number/:secret/results',
    summary: 'The results of a job: 503 with Retry-After until they are there, 410 when they are gone',
    params: LinkParams,
    open: true,
    reply: LinkResults,
  },
  linkFile: {
    method: 'GET',
    path: '/links/:project/:number/:secret/files/*',
    summary: 'One file of the results',
    params: closed({ ...LinkParams.properties, '*': Type.String({ maxLength: 4096 }) }),
    open: true,
    raw: 'out',
  },
  linkZip: {
    method: 'GET',
    path: '/links/:project/:number/:secret/results.zip',
    summary: 'All results in one file',
    params: LinkParams,
    open: true,
    raw: 'out',
  },
  linkLog: {
    method: 'GET',
    path: '/links/:project/:number/:secret/logs/:task',
    summary: 'What a task of a job has written so far: the end of it',
    params: closed({ ...LinkParams.properties, task: Type.String({ maxLength: 32 }) }),
    open: true,
    raw: 'out',
  },
  cancelLink: {
    method: 'POST',
    path: '/links/:project/:number/:secret/cancel',
    summary: 'Cancel a job whose secret link one has',
    params: LinkParams,
    open: true,
    status: 204,
  },
  wishJobs: {
    method: 'POST',
    path: '/projects/:project/jobs/wishes',
    summary: "Cancel, fail, resubmit or delete services' jobs: their hosts do it",
    params: closed({ project: Name }),
    body: WishRequest,
    reply: WishReply,
  },
  nudgeService: {
    method: 'POST',
    path: '/projects/:project/services/:service/nudge',
    summary: 'Let the host of a service look at all its jobs again, at once',
    params: ServiceParams,
    status: 204,
  },
  hostService: {
    method: 'POST',
    path: '/projects/:project/services/:service/hosts',
    summary: 'Become the host of a service; refused while another one lives',
    params: ServiceParams,
    body: HostRequest,
    reply: HostReply,
    status: 201,
  },
  pollService: {
    method: 'POST',
    path: '/projects/:project/services/:service/hosts/:session/poll',
    summary: 'What a host has to do; waits until there is something',
    params: HostParams,
    body: HostPollRequest,
    reply: HostPollReply,
  },
  changeServiceJobs: {
    method: 'POST',
    path: '/projects/:project/services/:service/hosts/:session/changes',
    summary: 'Changes of state of jobs, as their host makes them; a repeated one changes nothing',
    params: HostParams,
    body: ChangesRequest,
    reply: ChangesReply,
  },
  knownServiceJobs: {
    method: 'POST',
    path: '/projects/:project/services/:service/known',
    summary: 'Which of these jobs a service has, and where: what else lies in its directories belongs to nobody',
    params: ServiceParams,
    body: KnownRequest,
    reply: KnownReply,
  },
  leaveService: {
    method: 'POST',
    path: '/projects/:project/services/:service/hosts/:session/leave',
    summary: 'A host ends; the reason is kept',
    params: HostParams,
    body: closed({ reason: Type.Optional(Type.String({ maxLength: 4000 })) }),
    status: 204,
  },

  workers: {
    method: 'GET',
    path: '/workers',
    summary: 'Workers',
    query: closed({ all: Type.Optional(Type.Boolean()) }),
    reply: Type.Array(WorkerView),
  },
  register: {
    method: 'POST',
    path: '/workers',
    summary: 'Register a worker: a session of its own',
    body: RegisterRequest,
    reply: RegisterReply,
    status: 201,
  },
  exchange: {
    method: 'POST',
    path: '/workers/:session/exchange',
    summary: 'The one call of a worker: reports, heartbeats, claims',
    params: closed({ session: Type.String({ maxLength: 64 }) }),
    body: ExchangeRequest,
    reply: ExchangeReply,
  },
  leave: {
    method: 'POST',
    path: '/workers/:session/leave',
    summary: 'A worker ends: what it still holds goes back uncharged',
    params: closed({ session: Type.String({ maxLength: 64 }) }),
    reply: ChangedReply,
  },
  checkpoint: {
    method: 'POST',
    path: '/tasks/checkpoint',
    summary: 'Keep a checkpoint of a running attempt, whose files are uploaded already',
    body: CheckpointRequest,
    reply: CheckpointReply,
  },
  source: {
    method: 'POST',
    path: '/workers/:session/source',
    summary: 'Whom to fetch a blob from: a worker of the same zone, or the server',
    params: closed({ session: Type.String({ maxLength: 64 }) }),
    body: SourceRequest,
    reply: SourceReply,
  },
  holds: {
    method: 'POST',
    path: '/workers/:session/holds',
    summary: 'What a worker has in its cache, and what no longer',
    params: closed({ session: Type.String({ maxLength: 64 }) }),
    body: HoldsRequest,
    status: 204,
  },
  ticketKeys: {
    method: 'GET',
    path: '/ticket-keys',
    summary: 'Keys that sign tickets',
    reply: TicketKeys,
  },
  drainWorkers: {
    method: 'POST',
    path: '/workers/drain',
    summary: 'Let workers finish what they run, claim no more, and end',
    body: WorkerSelection,
    reply: ChangedReply,
  },
  stopWorkers: {
    method: 'POST',
    path: '/workers/stop',
    summary: 'End workers at once; what they run goes back to the queue',
    body: WorkerSelection,
    reply: ChangedReply,
  },

  pilots: {
    method: 'GET',
    path: '/pilots',
    summary: 'Pilots of each site: how many are wanted, on their way and at work, and what is in the way',
    reply: Type.Array(PilotsView),
  },
  setPilots: {
    method: 'PUT',
    path: '/pilots/:site',
    summary: 'Say which pilots may come to a site when tasks wait',
    params: closed({ site: SiteName }),
    body: PilotSettingsRequest,
    reply: PilotsView,
  },
  pausePilots: {
    method: 'POST',
    path: '/pilots/:site/pause',
    summary: 'Send no more pilots to a site, or (resume) send them again, also to one that rests after failures',
    params: closed({ site: SiteName }),
    body: closed({ paused: Type.Boolean() }),
    reply: PilotsView,
  },
  removePilots: {
    method: 'DELETE',
    path: '/pilots/:site',
    summary: 'Send no pilots to a site any more; those at work go on to their end',
    params: closed({ site: SiteName }),
    status: 204,
  },

  projects: { method: 'GET', path: '/projects', summary: 'Projects', reply: Type.Array(ProjectView) },
  createProject: {
    method: 'POST',
    path: '/projects',
    summary: 'Make a project',
    body: ProjectRequest,
    reply: ProjectView,
    status: 201,
  },

  projectUsage: {
    method: 'GET',
    path: '/projects/:project/usage',
    summary: 'What a project keeps',
    params: closed({ project: Name }),
    reply: ProjectUsage,
  },
  setQuota: {
    method: 'PUT',
    path: '/projects/:project/quota',
    summary: 'How much a project may keep',
    params: closed({ project: Name }),
    body: QuotaRequest,
    reply: ProjectUsage,
  },

  setProjectLimit: {
    method: 'PUT',
    path: '/projects/:project/limit',
    summary: 'How many tasks of a project may run at once',
    params: closed({ project: Name }),
    body: ProjectLimitRequest,
    reply: ProjectUsage,
  },

  setTokenLimits: {
    method: 'PUT',
    path: '/projects/:project/token-limits',
    summary: 'How long a PiCaS client may hold a token in silence, and how often it is given back',
    params: closed({ project: Name }),
    body: TokenLimitsRequest,
    reply: TokenLimits,
  },
  makeCredentials: {
    method: 'POST',
    path: '/projects/:project/credentials',
    summary: 'A user name and a new password for PiCaS and other clients of CouchDB',
    params: closed({ project: Name }),
    reply: ProjectCredentials,
  },

  missingBlobs: {
    method: 'POST',
    path: '/projects/:project/blobs/missing',
    summary: 'Which of these digests the project lacks',
    params: closed({ project: Name }),
    body: MissingRequest,
    reply: MissingReply,
  },
  putBlob: {
    method: 'PUT',
    path: '/projects/:project/blobs/:digest',
    summary: 'Upload bytes, or the rest of an upload that broke off; they are verified against their digest',
    params: BlobParams,
    query: closed({ upload: Type.Optional(UploadId), offset: Type.Optional(Bytes) }),
    raw: 'in',
    status: 204,
  },
  putBlobs: {
    method: 'POST',
    path: '/projects/:project/blobs',
    summary: 'Upload many small blobs at once: a line of JSON, [[digest, size], …], then their bytes',
    params: closed({ project: Name }),
    raw: 'in',
    status: 204,
  },
  uploadState: {
    method: 'GET',
    path: '/projects/:project/blobs/:digest/uploads/:upload',
    summary: 'How far an upload got',
    params: closed({ project: Name, digest: DigestText, upload: UploadId }),
    reply: UploadState,
  },
  getBlob: {
    method: 'GET',
    path: '/projects/:project/blobs/:digest',
    summary: 'Download bytes',
    params: BlobParams,
    raw: 'out',
  },

  startBackup: {
    method: 'POST',
    path: '/backups',
    summary: 'Begin a backup: files stay as they are while it is fetched',
    reply: CopyStarted,
    status: 201,
  },
  startExport: {
    method: 'POST',
    path: '/projects/:project/exports',
    summary: 'Begin to export a project, likewise',
    params: closed({ project: Name }),
    reply: CopyStarted,
    status: 201,
  },
  copyDatabase: {
    method: 'GET',
    path: '/copies/:id/database',
    summary: 'Of a backup or export: all rows as they are at one moment, as lines of JSON',
    params: CopyParams,
    raw: 'out',
  },
  copyBlob: {
    method: 'GET',
    path: '/copies/:id/blobs/:digest',
    summary: 'Of a backup or export: the bytes of a file',
    params: closed({ id: CopyId, digest: DigestText }),
    raw: 'out',
  },
  copyIdentity: {
    method: 'GET',
    path: '/copies/:id/identity',
    summary: 'Of a backup: the secrets that the server is known by',
    params: CopyParams,
    reply: ServerIdentity,
  },
  endCopy: {
    method: 'DELETE',
    path: '/copies/:id',
    summary: 'End a backup or export: files may go again',
    params: CopyParams,
    status: 204,
  },
  startImport: {
    method: 'POST',
    path: '/imports',
    summary: 'Begin to bring in a project that was exported; nobody sees it before it is whole',
    body: ImportRequest,
    reply: ImportStarted,
    status: 201,
  },
  importRows: {
    method: 'PUT',
    path: '/imports/:id/rows',
    summary: 'The rows of the project, as the export gave them; its files are there already',
    params: CopyParams,
    query: closed({ project: Name }),
    raw: 'in',
    reply: ImportReply,
  },
  endImport: {
    method: 'DELETE',
    path: '/imports/:id',
    summary: 'Give up an import: what it brought goes',
    params: CopyParams,
    status: 204,
  },

  tokens: { method: 'GET', path: '/tokens', summary: 'Tokens (never the secrets)', reply: Type.Array(TokenView) },
  createToken: {
    method: 'POST',
    path: '/tokens',
    summary: 'Make a token',
    body: TokenRequest,
    reply: NewToken,
    status: 201,
  },
  revokeToken: {
    method: 'DELETE',
    path: '/tokens/:id',
    summary: 'Revoke a token, at once',
    params: SubmissionParams,
    reply: TokenView,
  },

  login: {
    method: 'POST',
    path: '/login',
    summary: 'Begin a session, with name and password; no token is needed',
    body: LoginRequest,
    open: true,
    reply: LoginReply,
  },
  logout: { method: 'POST', path: '/logout', summary: 'End the session that the call is made with', status: 204 },
  whoami: { method: 'GET', path: '/whoami', summary: 'Who the caller is, and what they may do', reply: WhoAmI },

  users: { method: 'GET', path: '/users', summary: 'Users', reply: Type.Array(UserView) },
  addUser: { method: 'POST', path: '/users', summary: 'Add a user', body: UserRequest, reply: UserView, status: 201 },
  removeUser: {
    method: 'DELETE',
    path: '/users/:user',
    summary: 'Remove a user, with sessions, tokens and grants; what they own goes to somebody else',
    params: UserParams,
    query: closed({ transferTo: Type.Optional(UserName) }),
    reply: RemovedUser,
  },
  setRole: {
    method: 'PUT',
    path: '/users/:user/role',
    summary: 'Make a user an administrator or a regular one',
    params: UserParams,
    body: RoleRequest,
    reply: UserView,
  },
  setShare: {
    method: 'PUT',
    path: '/users/:user/share',
    summary: "The weight of a user among others, and limits; also of a token that is nobody's, by its name",
    params: closed({ user: Name }),
    body: ShareRequest,
    reply: ShareView,
  },
  usage: {
    method: 'GET',
    path: '/usage',
    summary:
      'Who has had how much of late, runs how much and keeps how much: administrators see all, others themselves',
    reply: Type.Array(ShareView),
  },
  setPassword: {
    method: 'PUT',
    path: '/users/:user/password',
    summary: "Change a password: one's own, or as an administrator anybody's; all other sessions of that user end",
    params: UserParams,
    body: PasswordRequest,
    reply: PasswordReply,
  },

  projectMembers: {
    method: 'GET',
    path: '/projects/:project/members',
    summary: 'Who may enter a project',
    params: closed({ project: Name }),
    reply: ProjectMembers,
  },
  grantProject: {
    method: 'PUT',
    path: '/projects/:project/members/:user',
    summary: 'Let a user into a project',
    params: MemberParams,
    reply: ProjectMembers,
  },
  revokeProject: {
    method: 'DELETE',
    path: '/projects/:project/members/:user',
    summary: 'Let a user no longer into a project',
    params: MemberParams,
    reply: ProjectMembers,
  },
  transferProject: {
    method: 'POST',
    path: '/projects/:project/transfer',
    summary: 'Give a project to another owner; the one before stays a member',
    params: closed({ project: Name }),
    body: TransferRequest,
    reply: ProjectMembers,
  },

  audit: { method: 'GET', path: '/audit', summary: 'Who did what, newest first', query: AuditQuery, reply: AuditPage },
  stopServer: {
    method: 'POST',
    path: '/stop',
    summary: 'Stop the server that answers; others of its database go on',
    reply: StopReply,
    status: 202,
  },
} as const;

export type Routes = typeof routes;
