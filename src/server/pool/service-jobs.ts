import { randomUUID } from 'node:crypto';
import { PilotageError } from '../../ground/base/errors.ts';
import type { JobState } from '../../ground/base/job-state.ts';
import { checkFile, fileParametersOf, plainFileName } from '../../ground/content/file-parameters.ts';
import { mayDo, type Principal, requireScope } from '../access/principal.ts';
import type { Wish } from '../core/service-job.ts';
import { sha256 } from '../store/secrets.ts';
import type { ServiceRow } from '../store/verbs/services.ts';
import { fillParameters } from './parameters.ts';
import type { Parts } from './parts.ts';
import { projectOf } from './projects.ts';
import { requestKey } from './request-key.ts';
import { serviceRow } from './services.ts';
import { requireFiles } from './trees.ts';
import { time, timeOrNull } from './views.ts';

/** A file whose bytes the project has. */
export interface JobFileFacts {
  readonly name: string;
  readonly digest: string;
  readonly size: number;
}

export interface ServiceJobRequestFacts {
  readonly name?: string | undefined;
  readonly requestId?: string | undefined;
  readonly parameters?: Readonly<Record<string, unknown>> | undefined;
  readonly contact?: string | undefined;
  readonly directory?: string | undefined;
  readonly files?: readonly JobFileFacts[] | undefined;
  readonly after?: readonly string[] | undefined;
}

/** A job for a service, which need not be hosted now. Its parameters are checked against the service's schema. */
export async function createServiceJob(
  parts: Parts,
  who: Principal,
  at: { project: string; service: string },
  request: ServiceJobRequestFacts,
) {
  requireScope(who, 'front');
  if (request.directory !== undefined || request.after !== undefined) requireScope(who, 'submit');
  refuseGuessable(who, request.requestId);
  const { id } = await projectOf(parts, who, at.project);
  const service = await serviceRow(parts, id, at.service);
  const schema = JSON.parse(service.schema) as object;
  const parameters = fillParameters(schema, request.parameters ?? {});
  const inputs = await filesOf(parts, id, request.files ?? []);
  checkFiles(schema, parameters, { ...request, files: inputs });
  const uid = randomUUID();
  const made = await parts.store.createServiceJob({
    projectId: id,
    serviceId: service.id,
    uid,
    name: request.name ?? null,
    owner: who.name,
    requestId: `service:${requestKey(who, id, request.requestId)}`,
    linkHash: sha256(parts.links.secretOf({ uid })),
    contact: request.contact ?? null,
    parameters: JSON.stringify(parameters),
    directory: request.directory === undefined ? null : incomingDirectory(service, request.directory),
    inputs,
    after: request.after ?? [],
  });
  if (!made.ok) throw whyRefused(at.service, made);
  parts.signals.service(service.id);
  return {
    number: made.number,
    project: at.project,
    service: at.service,
    secret: parts.links.secretOf(made),
    link: parts.links.urlOf({ project: at.project, ...made }),
  };
}

/** Refuses what the project lacks. How large a file is its bytes say, and not who names them. */
async function filesOf(parts: Parts, projectId: number, files: readonly JobFileFacts[]): Promise<JobFileFacts[]> {
  const named = files.map(({ name, digest }) => ({ name, digest, kind: 'file' as const }));
  await requireFiles(parts, projectId, named);
  const rows = await parts.store.blobSizes({ projectId, digests: files.map(({ digest }) => digest) });
  const sizes = new Map(rows.map(({ digest, size }) => [digest, Number(size)]));
  return files.map((file) => ({ ...file, size: sizes.get(file.digest) ?? file.size }));
}

const RANDOM_LENGTH = 22;

/** Who repeats a request gets the job's link. Where a token is shared by many, nobody may guess another's request. */
function refuseGuessable(who: Principal, requestId: string | undefined): void {
  if (requestId === undefined || requestId.length >= RANDOM_LENGTH || mayDo(who, 'submit')) return;
  throw new PilotageError(
    'bad-request',
    `this token is shared, so the request's id has to be one that nobody guesses, as 'uuidgen' makes them: ${RANDOM_LENGTH} characters at least. Nothing was added`,
  );
}

/** Of files that come with the job each is named by one parameter; without a directory there are no others to be named. */
function checkFiles(
  schema: object,
  parameters: Readonly<Record<string, unknown>>,
  { files = [], directory }: ServiceJobRequestFacts,
): void {
  const sizes = new Map(files.map(({ name, size }) => [plainFileName(name), size]));
  const taken = new Set<string>();
  for (const parameter of fileParametersOf(schema)) {
    const value = parameters[parameter.name];
    for (const name of value === undefined ? [] : ([value].flat() as string[])) {
      const size = sizes.get(plainFileName(name));
      if (taken.has(name)) throw badFile(`there are two files '${name}': rename one of them`);
      if (size === undefined && directory === undefined)
        throw badFile(`the parameter '${parameter.name}' names a file '${name}', which did not come with the job`);
      checkFile(parameter, name, size ?? 0);
      taken.add(name);
    }
  }
  const stray = [...sizes.keys()].find((name) => !taken.has(name));
  if (stray !== undefined) throw badFile(`no parameter names the file '${stray}'`);
  if (sizes.size < files.length) throw badFile('two files have the same name: rename one of them');
}

function badFile(what: string): PilotageError {
  return new PilotageError('bad-request', `${what}: nothing was added`);
}

type Refused = Extract<Awaited<ReturnType<Parts['store']['createServiceJob']>>, { ok: false }>;

function whyRefused(service: string, refused: Refused): PilotageError {
  if ('most' in refused) return busy(service, refused);
  if ('number' in refused) return refusal(refused.refusal, refused.number);
  return new PilotageError(
    'wrong-state',
    "a request of this id made a job of another service: give each request an id of its own, as 'uuidgen' makes them. Nothing was added",
  );
}

const BUSY_SECONDS = 60;

function busy(service: string, { refusal, most }: { refusal: string; most: number }): PilotageError {
  const jobs = `${most} unfinished jobs${refusal === 'too-many' ? '' : ' of yours'}`;
  const what = `the service '${service}' has ${jobs}, and takes no more for now: try again later. Nothing was added`;
  return new PilotageError('busy', what, {
    details: { retryAfterSeconds: BUSY_SECONDS },
  });
}

function refusal(why: 'no-such-job' | 'ended-badly' | 'directory-taken', number: string): PilotageError {
  if (why === 'no-such-job')
    return new PilotageError(
      'not-found',
      `there is no service's job ${number} in this project to come after: nothing was added`,
    );
  if (why === 'ended-badly')
    return new PilotageError(
      'wrong-state',
      `job ${number}, after which this one is to come, has failed or was cancelled: resubmit that one first; nothing was added`,
    );
  return new PilotageError('already-exists', `this directory is that of job ${number} already: nothing was added`);
}

/** One directory in the incoming one, and nothing else: its host is going to move it, and one day to remove it. */
function incomingDirectory(service: ServiceRow, name: string): string {
  if (service.incoming === null)
    throw new PilotageError(
      'wrong-state',
      `service '${service.name}' takes no directories: it has no incoming directory`,
    );
  if (name.includes('/') || name.includes('\0') || name.startsWith('.'))
    throw new PilotageError(
      'bad-request',
      `'${name}' is not the name of a directory in '${service.incoming}': give its plain name, without '/' and not beginning with '.'`,
    );
  return `${service.incoming}/${name}`;
}

export interface WishFacts {
  readonly wish: 'cancel' | 'fail' | 'resubmit' | 'delete';
  readonly jobs?: readonly string[] | undefined;
  readonly service?: string | undefined;
  readonly reason?: string | undefined;
}

export async function wishJobs(parts: Parts, who: Principal, project: string, facts: WishFacts) {
  requireScope(who, 'submit');
  const { id } = await projectOf(parts, who, project);
  if ((facts.jobs === undefined) === (facts.service === undefined))
    throw new PilotageError(
      'bad-request',
      "which jobs? Give their numbers ('jobs'), or a 'service' whose jobs are all meant",
    );
  const service = facts.service === undefined ? null : await serviceRow(parts, id, facts.service);
  const { wished, refused } = await parts.store.wishServiceJobs({
    projectId: id,
    wish: facts.wish,
    reason: facts.reason ?? null,
    numbers: facts.jobs ?? null,
    serviceId: service?.id ?? null,
  });
  const ids = new Set(wished.map(({ service: of }) => of));
  for (const one of ids) parts.signals.service(one);
  const services = await parts.store.listServices({ projectId: id });
  return {
    wished: wished.map(({ number }) => number),
    refused: refused.map(({ number, state, why }) => ({ number, why: why ?? whyNot(facts.wish, state) })),
    unhosted: services.filter((one) => ids.has(one.id) && one.host_until <= one.now).map(({ name }) => name),
  };
}

function whyNot(wish: Wish, state: JobState | null): string {
  if (state === null) return "there is no such service's job";
  const needed: Partial<Record<Wish, string>> = {
    cancel: 'it has ended before, and stays as it ended',
    resubmit: 'only a failed or cancelled job can be resubmitted',
    delete: 'it has not ended: cancel it first',
  };
  return `it is ${state}: ${needed[wish] ?? 'there is nothing to be done'}`;
}

/** What only a service's job has. */
export async function serviceJobFacts(parts: Parts, project: { id: number; name: string }, number: string) {
  const row = await parts.store.getServiceJob({ projectId: project.id, number });
  if (!row) return null;
  const { first: _first, ...times } = JSON.parse(row.times) as Record<string, number>;
  return {
    contact: row.contact,
    directory: row.directory,
    intent: row.intent,
    wish: row.wish,
    run: row.run,
    parameters: JSON.parse(row.parameters),
    metadata: JSON.parse(row.metadata),
    times: Object.fromEntries(Object.entries(times).map(([state, at]) => [state, time(at)])),
    waitsFor: [...row.waitsFor],
    dueAt: timeOrNull(row.due_at),
    runner: row.runner === null ? null : JSON.parse(row.runner),
    failure: row.failure === null ? null : JSON.parse(row.failure),
    link: parts.links.urlOf({ project: project.name, number, uid: row.uid }),
    results: row.results === null ? null : JSON.parse(row.results),
  };
}
