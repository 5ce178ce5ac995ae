import { randomBytes } from 'node:crypto';
import { PilotageError } from '../../ground/base/errors.ts';
import type { JobState } from '../../ground/base/job-state.ts';
import { type Principal, requireScope } from '../access/principal.ts';
import { sha256 } from '../store/secrets.ts';
import type { ServiceJobRow } from '../store/verbs/service-jobs.ts';
import type { ServiceRow } from '../store/verbs/services.ts';
import type { Parts } from './parts.ts';
import { projectOf } from './projects.ts';
import { serviceRow } from './services.ts';
import { serviceTopic } from './signals.ts';
import { requireFiles } from './trees.ts';
import { time } from './views.ts';

/** A host that nobody heard of for so long may be replaced. */
const LEASE_MS = 30_000;
const MOST_JOBS = 500;

export interface HostRequestFacts {
  readonly host: object;
  readonly title: string | null;
  readonly parameters: object;
  readonly incoming: string | null;
  readonly archiveSeconds: number | null;
  readonly expireSeconds: number | null;
  readonly limits?: { readonly waiting?: number | undefined; readonly perUser?: number | undefined } | undefined;
  readonly takeOver?: number | undefined;
  readonly mail?: { readonly admins: readonly string[]; readonly users: boolean } | undefined;
  readonly webhooks?: readonly string[] | undefined;
}

/** Whom a host is: its service, its session, and the session's secret. */
export interface HostSession {
  readonly project: string;
  readonly service: string;
  readonly session: number;
  readonly secret: string;
}

export async function hostService(
  parts: Parts,
  who: Principal,
  at: { project: string; service: string },
  facts: HostRequestFacts,
) {
  requireScope(who, 'work');
  const { id } = await projectOf(parts, who, at.project);
  const secret = randomBytes(32).toString('base64url');
  const ms = (seconds: number | null): number | null => (seconds === null ? null : Math.round(seconds * 1000));
  const made = await parts.store.hostService({
    projectId: id,
    name: at.service,
    title: facts.title,
    schema: JSON.stringify(facts.parameters),
    incoming: facts.incoming,
    archiveMs: ms(facts.archiveSeconds),
    expireMs: ms(facts.expireSeconds),
    mostWaiting: facts.limits?.waiting ?? null,
    mostOfOwner: facts.limits?.perUser ?? null,
    told: { admins: facts.mail?.admins ?? [], users: facts.mail?.users ?? true, webhooks: facts.webhooks ?? [] },
    host: JSON.stringify(facts.host),
    secretHash: sha256(secret),
    leaseMs: LEASE_MS,
    takeOver: facts.takeOver ?? null,
  });
  if (!made.ok) throw taken(made.row);
  parts.signals.service(made.id);
  const warnings = await warningsOf(parts, made.id, (facts.mail?.admins.length ?? 0) > 0);
  return { session: made.number, secret, leaseSeconds: LEASE_MS / 1000, now: time(made.now), warnings };
}

/** What whoever hosts the service should know of its notices. */
async function warningsOf(parts: Parts, serviceId: number, hasAdmins: boolean): Promise<string[]> {
  const { waitingMails, failed, lastError } = await parts.store.countLetters({ serviceId });
  const waiting = `${waitingMails} ${waitingMails === 1 ? 'mail of this service waits' : 'mails of this service wait'}`;
  const none = "this server has no SMTP server ('pilotage serve --smtp')";
  return [
    ...(parts.settings.hasSmtp || (waitingMails === 0 && !hasAdmins)
      ? []
      : [waitingMails === 0 ? `${none}: mails of this service will be kept` : `${waiting}: ${none}`]),
    ...(parts.settings.hasSmtp && waitingMails > 0 ? [`${waiting}${lastError === null ? '' : `: ${lastError}`}`] : []),
    ...(failed > 0 ? [`${failed} notices of this service were given up: ${lastError ?? ''}`] : []),
  ];
}

function taken(row: ServiceRow): PilotageError {
  const { host, pid } = JSON.parse(row.host ?? '{}');
  const left = Math.ceil((row.host_until - row.now) / 1000);
  return new PilotageError(
    'already-hosted',
    `service '${row.name}' is run by process ${pid} on ${host}, which was heard of within the last ${LEASE_MS / 1000} s: end that one ('pilotage service stop'), or, if it is dead, wait ${left} s`,
  );
}

async function keyOf(parts: Parts, who: Principal, { project, service, session, secret }: HostSession) {
  requireScope(who, 'work');
  const { id } = await projectOf(parts, who, project);
  return { projectId: id, name: service, number: session, secretHash: sha256(secret) };
}

function replaced(service: string): PilotageError {
  return new PilotageError(
    'host-replaced',
    `another host has taken over the service '${service}': this one ends, and has changed nothing since`,
  );
}

export async function leaveService(parts: Parts, who: Principal, host: HostSession, reason: string | null) {
  const left = await parts.store.leaveService({ ...(await keyOf(parts, who, host)), reason });
  if (left === null) throw replaced(host.service);
  if (left > 0) parts.signals.noticed();
}

export interface PollFacts {
  readonly after: number;
  readonly nudged: number;
  readonly waitSeconds: number;
}

/** Waits until there is something for the host, or somebody nudges it. */
export async function pollService(
  parts: Parts,
  who: Principal,
  host: HostSession,
  facts: PollFacts,
  gone: AbortSignal,
) {
  const key = await keyOf(parts, who, host);
  const ends = AbortSignal.any([gone, parts.closing]);
  const deadline = performance.now() + facts.waitSeconds * 1000;
  for (;;) {
    const found = await parts.store.pollService({ ...key, leaseMs: LEASE_MS, after: facts.after, most: MOST_JOBS });
    if (!found) throw replaced(host.service);
    const left = deadline - performance.now();
    if (found.jobs.length > 0 || found.nudged !== facts.nudged || left <= 0 || ends.aborted)
      return {
        jobs: found.jobs.map((row) => toHostJob(parts, host.project, row)),
        after: found.jobs.at(-1)?.touched ?? facts.after,
        nudged: found.nudged,
        now: time(found.now),
      };
    await parts.signals.wait(
      [serviceTopic(found.serviceId)],
      Math.min(left, POLL_MS, Math.max(1, (found.nextDue ?? Infinity) - found.now)),
      ends,
    );
  }
}

/** A note of another server of the same database may be lost; and the time of a job may come. */
const POLL_MS = 5000;

/** A change as it comes from the wire; see the protocol. */
export interface ChangeFactsIn {
  readonly id: number;
  readonly kind: string;
  readonly step: number;
  readonly to?: JobState | undefined;
  readonly directory?: string | null | undefined;
  readonly target?: string | null | undefined;
  readonly metadata?: object | undefined;
  readonly data?: unknown;
  readonly runner?: unknown;
  readonly progress?: object | null | undefined;
  readonly failure?: { readonly hook: string; readonly message: string } | undefined;
  readonly results?: { readonly tree: string; readonly files: number; readonly bytes: number } | undefined;
  readonly log?: string | undefined;
  readonly mail?: { readonly subject?: string | undefined; readonly text: string } | null | undefined;
}

const REASON_LENGTH = 1000;

export async function changeJobs(parts: Parts, who: Principal, host: HostSession, changes: readonly ChangeFactsIn[]) {
  const key = await keyOf(parts, who, host);
  const trees = changes.flatMap(({ results }) => (results ? [results.tree] : []));
  await requireFiles(
    parts,
    key.projectId,
    trees.map((digest) => ({ name: 'the results', digest, kind: 'tree' as const })),
  );
  const done = await parts.store.changeServiceJobs({ ...key, leaseMs: LEASE_MS, changes: changes.map(toStored) });
  if (!done) throw replaced(host.service);
  for (const service of done.woken) parts.signals.service(service);
  if (done.noticed > 0) parts.signals.noticed();
  return { results: done.results.map((result) => ({ ...result })) };
}

function toStored({ id, kind, step, to, directory, target, failure, mail, ...rest }: ChangeFactsIn) {
  if (kind === 'begin' && to === undefined)
    throw new PilotageError('bad-request', "a change that begins says what state it leads to ('to')");
  const text = (value: unknown): string | undefined => (value === undefined ? undefined : JSON.stringify(value));
  return {
    jobId: id,
    mail,
    change: (kind === 'begin' ? { kind, step, to: to as JobState } : { kind, step }) as Parameters<
      Parts['store']['changeServiceJobs']
    >[0]['changes'][number]['change'],
    facts: {
      directory,
      target,
      metadata: text(rest.metadata),
      data: text(rest.data),
      runner: text(rest.runner),
      progress: text(rest.progress),
      failure: text(failure),
      results: rest.results,
      log: rest.log,
      reason: failure && `${failure.hook}: ${failure.message}`.slice(0, REASON_LENGTH),
    },
  };
}

function toHostJob({ links }: Parts, project: string, row: ServiceJobRow) {
  return {
    id: row.job_id,
    number: row.number,
    uid: row.uid,
    name: row.name,
    owner: row.owner,
    contact: row.contact,
    createdAt: time(row.created_at),
    state: row.state,
    intent: row.intent,
    step: row.step,
    run: row.run,
    wish: row.wish,
    wishReason: row.wish_reason,
    waiting: row.waiting,
    settled: row.settled === 1,
    directory: row.directory,
    target: row.target,
    parameters: JSON.parse(row.parameters),
    inputs: row.inputs === null ? [] : JSON.parse(row.inputs),
    url: links.urlOf({ project, number: row.number, uid: row.uid }),
    metadata: JSON.parse(row.metadata),
    data: row.data === null ? null : JSON.parse(row.data),
    runner: row.runner === null ? null : JSON.parse(row.runner),
  };
}

export async function knownServiceJobs(
  parts: Parts,
  who: Principal,
  at: { project: string; service: string },
  numbers: readonly string[],
) {
  requireScope(who, 'work');
  const { id } = await projectOf(parts, who, at.project);
  const { id: serviceId } = await serviceRow(parts, id, at.service);
  const rows = await parts.store.knownServiceJobs({ projectId: id, serviceId, numbers });
  return rows.map((row) => ({ ...row }));
}
