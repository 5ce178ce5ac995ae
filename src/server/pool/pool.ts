import { randomBytes } from 'node:crypto';
import type { Readable } from 'node:stream';
import { PilotageError } from '../../ground/base/errors.ts';
import { parseTaskId } from '../../ground/base/task-id.ts';
import { type Principal, requireScope } from '../access/principal.ts';
import type { Capacity } from '../core/shape.ts';
import type { RowState } from '../core/task.ts';
import { sha256 } from '../store/secrets.ts';
import { type CheckpointFacts, keepCheckpoint } from './checkpoints.ts';
import { createExchanges, type ExchangeFacts } from './exchange.ts';
import * as files from './files.ts';
import * as jobs from './jobs.ts';
import * as linked from './linked-jobs.ts';
import { type LogWish, readLogs } from './logs.ts';
import { notedActions } from './noted-actions.ts';
import type { Parts } from './parts.ts';
import * as pilots from './pilots.ts';
import * as projectUsers from './project-user.ts';
import { projectOf } from './projects.ts';
import * as queries from './queries.ts';
import * as fronts from './service-front.ts';
import * as serviceHosts from './service-hosts.ts';
import * as serviceJobs from './service-jobs.ts';
import * as services from './services.ts';
import { shareActions } from './shares.ts';
import * as sources from './sources.ts';
import * as submitting from './submit.ts';
import { why } from './why.ts';

/** A worker that registers; see the protocol for what the fields mean. */
export interface RegisterFacts {
  readonly protocol: number;
  readonly version: string;
  readonly name: string;
  readonly host: string;
  readonly pid: number;
  readonly zone: string | null;
  readonly share?: readonly string[] | undefined;
  readonly total: Capacity;
  readonly labels: Readonly<Record<string, string>>;
  readonly kinds: readonly string[];
  readonly projects?: readonly string[] | undefined;
  readonly remainingSeconds: number | null;
  readonly batchHold?: boolean | undefined;
  readonly replaces?:
    | {
        readonly session: string;
        readonly secret: string;
        readonly held?: readonly { readonly task: string; readonly attempt: number }[] | undefined;
      }
    | undefined;
}

interface ServiceAt {
  readonly project: string;
  readonly service: string;
}

/** What can happen. Every action takes who asks for it and refuses with a `PilotageError`. */
export type Pool = ReturnType<typeof createPool>;

export function createPool(parts: Parts, options: { protocol: number; startedAt: number }) {
  const exchanges = createExchanges(parts);
  return {
    ...notedActions(parts),
    ...shareActions(parts),
    status: (who: Principal, project?: string) => queries.getStatus(parts, who, project, options.startedAt),

    submit: (who: Principal, request: submitting.SubmitRequestFacts) => submitting.submit(parts, who, request),
    addItems: (who: Principal, id: number, offset: number, items: readonly submitting.ItemFacts[]) =>
      submitting.addItems(parts, who, id, offset, items),
    closeSubmission: (who: Principal, id: number) => submitting.closeSubmission(parts, who, id),
    submission: (who: Principal, id: number, wait: { seconds: number; finishedOnly: boolean }, gone: AbortSignal) =>
      queries.getSubmission(parts, who, id, wait, gone),
    submissions: (who: Principal, project: string | undefined, page: queries.Page) =>
      queries.listSubmissions(parts, who, project, page),

    tasks: (
      who: Principal,
      filter: { project?: string | undefined; state?: RowState | undefined; submission?: number | undefined },
      page: queries.Page,
    ) => queries.listTasks(parts, who, filter, page),
    task: (who: Principal, id: string) => queries.getTask(parts, who, id),
    why: (who: Principal, id: string) => why(parts, who, id),
    logs: (who: Principal, id: string, wish: LogWish, gone: AbortSignal) => readLogs(parts, who, id, wish, gone),
    results: (who: Principal, id: string, attempt: number | undefined, page: queries.Page) =>
      queries.listResults(parts, who, id, attempt, page),

    createJob: (who: Principal, project: string, request: jobs.JobRequestFacts) =>
      jobs.createJob(parts, who, project, request),
    jobs: (who: Principal, project: string, page: Parameters<typeof jobs.listJobs>[3]) =>
      jobs.listJobs(parts, who, project, page),
    job: (who: Principal, project: string, number: string) => jobs.getJob(parts, who, project, number),
    jobProcesses: (who: Principal, project: string) => jobs.jobProcesses(parts, who, project),
    jobRecord: (who: Principal, project: string, number: string) => jobs.getRecord(parts, who, project, number),
    mergeRecord: (who: Principal, project: string, record: jobs.RecordFacts) =>
      jobs.mergeRecord(parts, who, project, record),

    services: (who: Principal, project: string) => services.listServices(parts, who, project),
    service: (who: Principal, at: ServiceAt) => services.getService(parts, who, at),
    hostService: (who: Principal, at: ServiceAt, facts: serviceHosts.HostRequestFacts) =>
      serviceHosts.hostService(parts, who, at, facts),
    leaveService: (who: Principal, host: serviceHosts.HostSession, reason: string | null) =>
      serviceHosts.leaveService(parts, who, host, reason),
    pollService: (who: Principal, host: serviceHosts.HostSession, facts: serviceHosts.PollFacts, gone: AbortSignal) =>
      serviceHosts.pollService(parts, who, host, facts, gone),
    changeJobs: (who: Principal, host: serviceHosts.HostSession, changes: readonly serviceHosts.ChangeFactsIn[]) =>
      serviceHosts.changeJobs(parts, who, host, changes),
    knownServiceJobs: (who: Principal, at: ServiceAt, numbers: readonly string[]) =>
      serviceHosts.knownServiceJobs(parts, who, at, numbers),
    nudgeService: (who: Principal, at: ServiceAt) => services.nudgeService(parts, who, at),
    createServiceJob: (who: Principal, at: ServiceAt, request: serviceJobs.ServiceJobRequestFacts) =>
      serviceJobs.createServiceJob(parts, who, at, request),
    serviceForm: (who: Principal, at: ServiceAt) => fronts.serviceForm(parts, who, at),
    serviceQueue: (who: Principal, at: ServiceAt, page: fronts.QueuePage) => fronts.serviceQueue(parts, who, at, page),
    keepFile: (who: Principal, project: string, file: files.FormFile) => files.keepFile(parts, who, project, file),
    link: (link: linked.LinkFacts) => linked.viewLink(parts, link),
    linkResults: (link: linked.LinkFacts) => linked.linkResults(parts, link),
    linkFile: (link: linked.LinkFacts, path: string, start: number) => linked.linkFile(parts, link, path, start),
    linkFiles: (link: linked.LinkFacts) => linked.linkFiles(parts, link),
    linkLog: (link: linked.LinkFacts, task: string, gone: AbortSignal) => linked.linkLog(parts, link, task, gone),

    workers: (who: Principal, all: boolean) => queries.listWorkers(parts, who, all),
    register: (who: Principal, worker: RegisterFacts) => register(parts, who, worker, options.protocol),
    exchange: (who: Principal, session: string, secret: string, facts: ExchangeFacts, gone: AbortSignal) => {
      requireScope(who, 'work');
      return exchanges.exchange({ session, secret, who }, facts, gone);
    },
    async leave(who: Principal, session: string, secret: string): Promise<number> {
      requireScope(who, 'work');
      const back = await parts.store.leaveWorker({ session, sessionSecret: secret });
      exchanges.forget(session);
      if (back === undefined)
        throw new PilotageError('session-ended', 'this worker session is not known here (any more)');
      parts.dirty();
      if (back > 0) parts.signals.queued();
      return back;
    },
    checkpoint: (who: Principal, facts: CheckpointFacts) => keepCheckpoint(parts, who, facts),
    source: (who: Principal, worker: sources.WorkerKey, facts: sources.SourceFacts) =>
      sources.findSource(parts, who, worker, facts),
    holds: (who: Principal, worker: sources.WorkerKey, holds: { add: readonly string[]; remove: readonly string[] }) =>
      sources.setHolds(parts, who, worker, holds),
    ticketKeys: (who: Principal) => sources.ticketKeys(parts, who),

    pilots: (who: Principal) => pilots.listPilots(parts, who),

    projects: (who: Principal) => queries.listProjects(parts, who),

    projectUsage: (who: Principal, project: string) => files.projectUsage(parts, who, project),
    projectUser: (who: Principal, project: string) => projectUsers.projectUser(parts, who, project),
    missingBlobs: (who: Principal, project: string, asked: files.Asked) =>
      files.missingBlobs(parts, who, project, asked),
    putBlob: (who: Principal, to: { project: string; digest: string }, upload: files.Upload, bytes: Readable) =>
      files.putBlob(parts, who, to, upload, bytes),
    putBlobs: (who: Principal, project: string, blobs: readonly files.WholeBlob[]) =>
      files.putBlobs(parts, who, project, blobs),
    uploadState: (who: Principal, upload: { project: string; digest: string; upload: string }) =>
      files.uploadState(parts, who, upload),
    getBlob: (who: Principal, project: string, digest: string, start: number) =>
      files.getBlob(parts, who, project, digest, start),
  };
}

async function register(parts: Parts, who: Principal, worker: RegisterFacts, protocol: number) {
  requireScope(who, 'work');
  if (worker.protocol !== protocol) {
    throw new PilotageError(
      'incompatible-version',
      `this worker (Pilotage ${worker.version}, protocol ${worker.protocol}) and the server (Pilotage ${parts.version}, protocol ${protocol}) do not understand each other: install the same version on both`,
    );
  }
  const projects = await projectsOf(parts, who, worker.projects);
  const session = randomBytes(16).toString('hex');
  const secret = randomBytes(32).toString('base64url');
  const { number, now } = await parts.store.registerWorker({
    session,
    secretHash: sha256(secret),
    tokenId: who.tokenId,
    name: worker.name,
    host: worker.host,
    pid: worker.pid,
    zone: worker.zone,
    share: worker.share ? JSON.stringify(worker.share) : null,
    version: worker.version,
    kinds: worker.kinds,
    total: JSON.stringify(worker.total),
    labels: JSON.stringify(worker.labels),
    projects,
    remainingSeconds: worker.remainingSeconds,
    batchHold: worker.batchHold === true,
    pilot: who.pilot ?? null,
    peer: who.peer?.id ?? null,
    replaces: worker.replaces ? toOldSession(worker.replaces) : null,
    lease: parts.settings,
  });
  parts.dirty();
  parts.signals.queued();
  parts.log.info(
    { worker: `w${number}`, name: worker.name, host: worker.host },
    who.peer ? 'a neighbour registered as a worker' : 'a worker registered',
  );
  return {
    worker: `w${number}`,
    session,
    secret,
    heartbeatSeconds: parts.settings.heartbeatMs / 1000,
    leaseSeconds: parts.settings.leaseMs / 1000,
    now,
  };
}

function toOldSession({ session, secret, held = [] }: NonNullable<RegisterFacts['replaces']>) {
  return {
    session,
    secretHash: sha256(secret),
    held: held.map(({ task, attempt }) => {
      const { submission, index } = parseTaskId(task);
      return { submission, idx: index, attempt };
    }),
  };
}

async function projectsOf(
  parts: Parts,
  who: Principal,
  wanted: readonly string[] | undefined,
): Promise<number[] | null> {
  // What a neighbour may have is looked at with each exchange.
  if (who.peer) return null;
  const names = wanted ?? who.projects;
  if (names === null) return null;
  const ids: number[] = [];
  for (const name of names) ids.push((await projectOf(parts, who, name)).id);
  return ids;
}
