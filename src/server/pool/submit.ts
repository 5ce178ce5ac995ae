import { randomUUID } from 'node:crypto';
import { PilotageError } from '../../ground/base/errors.ts';
import { isDeeperThan } from '../../ground/base/json-depth.ts';
import { MAX_PAYLOAD_DEPTH, MAX_TASKS } from '../../ground/base/limits.ts';
import { placeholdersIn, valuesOf } from '../../ground/base/placeholders.ts';
import { formatTaskId } from '../../ground/base/task-id.ts';
import { type Principal, requireScope } from '../access/principal.ts';
import { fits, parseShapeKey, type Shape, shapeKey } from '../core/shape.ts';
import type { NewDependency, NewItems, NewSubmission } from '../store/verbs/submissions.ts';
import type { Parts } from './parts.ts';
import { projectOf } from './projects.ts';
import { type SubmissionRow, viewOfSubmission } from './views.ts';
import { workerFacts } from './worker-facts.ts';

/** The parts of a submit request that the pool decides by; the protocol's schema has checked the rest. */
export interface SubmitRequestFacts {
  readonly project?: string | undefined;
  readonly requestId?: string | undefined;
  readonly open?: boolean | undefined;
  readonly strict?: boolean | undefined;
  readonly steps: readonly StepFacts[];
}

export interface StepFacts {
  readonly name?: string | undefined;
  readonly spec: SpecFacts;
  readonly array?: { readonly first: number; readonly last: number; readonly step?: number | undefined } | undefined;
  readonly items?: readonly ItemFacts[] | undefined;
  readonly priority?: number | undefined;
  readonly notBefore?: string | undefined;
  readonly after?:
    | readonly ({ readonly submission: number; readonly index?: number | undefined } | { readonly step: string })[]
    | undefined;
}

export interface ItemFacts {
  readonly payload?: unknown;
  readonly inputs?: readonly { readonly name: string; readonly digest: string }[] | undefined;
}

interface SpecFacts {
  readonly command?: readonly string[] | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly inputs?: readonly { readonly name: string; readonly digest: string }[] | undefined;
  readonly outputs?: readonly { readonly pattern: string }[] | undefined;
  readonly resources?:
    | {
        readonly cpus?: number | undefined;
        readonly memory?: number | undefined;
        readonly gpus?: number | undefined;
        readonly named?: Readonly<Record<string, number>> | undefined;
        readonly labels?: Readonly<Record<string, string>> | undefined;
      }
    | undefined;
  readonly timeLimitSeconds?: number | undefined;
  readonly timeRequestSeconds?: number | undefined;
}

/** All of a request or none. What cannot ever run here now is accepted with a warning, or refused when `strict`. */
export async function submit(parts: Parts, principal: Principal, request: SubmitRequestFacts) {
  requireScope(principal, 'submit');
  const project = await projectOf(parts, principal, request.project ?? principal.projects?.[0] ?? 'default');
  refuseCycle(request.steps);
  const steps = request.steps.map((step, i) => toNewSubmission(step, request, i));
  await refuseMissingBlobs(parts, project.id, request.steps);
  const warnings = await resourceWarnings(parts, steps);
  if (request.strict && warnings.length > 0)
    throw new PilotageError(
      'impossible-resources',
      `${warnings.join('; ')}: nothing was submitted, because of --strict`,
    );
  const large = request.steps.some((step) => step.array !== undefined && countOf(step.array) > 20_000);
  const requestId = request.requestId ?? randomUUID();
  const result = await parts.store.submit({
    projectId: project.id,
    owner: principal.name,
    requestId: `${principal.tokenId}:${requestId}`,
    open: request.open === true || large,
    steps,
  });
  if (!result.ok) {
    const { submission, idx } = result.missing;
    throw new PilotageError(
      'not-found',
      `the dependency ${idx === null ? submission : formatTaskId(submission, idx)} is not a task of project '${project.name}': nothing was submitted`,
    );
  }
  if (large) await insertArrays(parts, result.ids, request.steps);
  if (large && request.open !== true) await parts.store.openSubmissions({ ids: result.ids });
  accepted(parts, result.ids);
  return { submissions: await views(parts, result.ids), warnings };
}

async function insertArrays(parts: Parts, ids: readonly number[], steps: readonly StepFacts[]): Promise<void> {
  for (const [i, step] of steps.entries()) {
    if (step.array === undefined) continue;
    const array = { first: step.array.first, last: step.array.last, step: step.array.step ?? 1 };
    while ((await parts.store.addArrayChunk({ id: ids[i] as number, array })).left > 0);
  }
}

function accepted(parts: Parts, ids: readonly number[]): void {
  parts.dirty();
  parts.signals.queued();
  for (const id of ids) parts.signals.changed(id);
}

async function views(parts: Parts, ids: readonly number[]) {
  return (await parts.store.getSubmissions({ ids })).map((row) => viewOfSubmission(row));
}

/** A chunk of items for a submission that is still open. */
export async function addItems(
  parts: Parts,
  principal: Principal,
  id: number,
  offset: number,
  items: readonly ItemFacts[],
) {
  const row = await loadingSubmission(parts, principal, id);
  const spec = JSON.parse(row.spec) as SpecFacts;
  const rows = toRows(items, offset + 1, `submission ${id}`);
  refuseUnfilled(spec, items, offset + 1, row.name);
  await refuseMissing(
    parts,
    row.project_id,
    items.flatMap((item) => (item.inputs ?? []).map((input) => input.digest)),
  );
  const added = await parts.store.addItems({ id, offset, items: rows });
  if (!added.ok && added.refusal === 'not-open')
    throw new PilotageError('wrong-state', `submission ${id} is complete: nothing can be added to it`);
  if (!added.ok)
    throw new PilotageError(
      'wrong-state',
      `submission ${id} has ${added.tasks} tasks, and the chunk begins at ${offset}: send the chunk that begins at ${added.tasks}`,
    );
  return (await views(parts, [id]))[0] as ReturnType<typeof viewOfSubmission>;
}

/** Completes a request whose items came in chunks: with this all its submissions are accepted. */
export async function closeSubmission(parts: Parts, principal: Principal, id: number) {
  const row = await submissionOf(parts, principal, id);
  const ids = (await parts.store.getRequest({ id: row.id })).map((one) => one.id);
  await parts.store.openSubmissions({ ids });
  accepted(parts, ids);
  return (await views(parts, [id]))[0] as ReturnType<typeof viewOfSubmission>;
}

async function loadingSubmission(parts: Parts, principal: Principal, id: number): Promise<SubmissionRow> {
  const row = await submissionOf(parts, principal, id);
  if (row.gate !== 'loading')
    throw new PilotageError('wrong-state', `submission ${id} is complete: nothing can be added to it`);
  return row;
}

async function submissionOf(parts: Parts, principal: Principal, id: number): Promise<SubmissionRow> {
  requireScope(principal, 'submit');
  const [row] = await parts.store.getSubmissions({ ids: [id] });
  if (!row || row.request_id === null) throw new PilotageError('not-found', `there is no submission ${id}`);
  await projectOf(parts, principal, row.project);
  return row;
}

function toNewSubmission(step: StepFacts, request: SubmitRequestFacts, at: number): NewSubmission {
  const what = step.name === undefined ? `step ${at + 1}` : `step '${step.name}'`;
  if (step.array && step.items)
    throw new PilotageError('bad-spec', `${what} has both an array and items: give one of them`);
  if (step.array) refuseBadArray(step.array, what);
  const single = !step.array && !step.items && request.open !== true;
  const items = step.items ?? (single ? [{}] : undefined);
  if (step.items?.length === 0 && request.open !== true)
    throw new PilotageError('bad-spec', `${what} has an empty list of items: there would be nothing to do`);
  if (items) refuseUnfilled(step.spec, items, 1, step.name ?? null);
  else if (step.array) refuseUnfilled(step.spec, [{}], step.array.first, step.name ?? null);
  return {
    name: step.name ?? null,
    shapeKey: shapeKey(toShape(step.spec)),
    spec: JSON.stringify(step.spec),
    priority: step.priority ?? 0,
    notBefore: step.notBefore === undefined ? null : Date.parse(step.notBefore),
    after: (step.after ?? []).map((on) => toDependency(on, request.steps, what)),
    array: step.array ? { first: step.array.first, last: step.array.last, step: step.array.step ?? 1 } : null,
    items: items ? toRows(items, 1, what) : null,
  };
}

function toDependency(
  on: NonNullable<StepFacts['after']>[number],
  steps: readonly StepFacts[],
  what: string,
): NewDependency {
  if ('submission' in on) return { submission: on.submission, idx: on.index ?? null };
  const step = steps.findIndex((one) => one.name === on.step);
  if (step < 0) throw new PilotageError('bad-spec', `${what} comes after '${on.step}', but no step has that name`);
  return { step };
}

function toShape(spec: SpecFacts): Shape {
  const asked = spec.resources ?? {};
  return {
    kind: spec.command ? 'command' : 'payload',
    cpus: asked.cpus ?? 1,
    memory: asked.memory ?? 0,
    gpus: asked.gpus ?? 0,
    named: asked.named ?? {},
    labels: asked.labels ?? {},
    timeRequestSeconds: spec.timeRequestSeconds ?? 0,
  };
}

function toRows(items: readonly ItemFacts[], first: number, what: string): NewItems {
  return {
    first,
    payloads: items.map((item, i) => payloadText(item.payload, `${what}, item ${first + i}`)),
    inputs: items.map((item) => (item.inputs && item.inputs.length > 0 ? JSON.stringify(item.inputs) : null)),
  };
}

function payloadText(payload: unknown, what: string): string | null {
  if (payload === undefined) return null;
  if (isDeeperThan(payload, MAX_PAYLOAD_DEPTH))
    throw new PilotageError(
      'too-deep',
      `${what}: the payload nests deeper than ${MAX_PAYLOAD_DEPTH} levels; nothing was submitted. Put deep data into a file and give it with --input`,
    );
  return JSON.stringify(payload);
}

function countOf(array: { first: number; last: number; step?: number | undefined }): number {
  return Math.floor((array.last - array.first) / (array.step ?? 1)) + 1;
}

function refuseBadArray(array: NonNullable<StepFacts['array']>, what: string): void {
  if (array.last < array.first)
    throw new PilotageError(
      'bad-spec',
      `${what}: the array ${array.first}-${array.last} is empty: write the smaller number first`,
    );
  const count = countOf(array);
  if (count > MAX_TASKS)
    throw new PilotageError(
      'array-too-large',
      `${what}: an array of ${count} tasks is over the limit of ${MAX_TASKS}: submit it in parts; nothing was submitted`,
    );
}

/** Every `{name}` must have a value in every task. */
function refuseUnfilled(spec: SpecFacts, items: readonly ItemFacts[], first: number, name: string | null): void {
  const texts = [
    ...(spec.command ?? []),
    ...Object.values(spec.env ?? {}),
    ...(spec.inputs ?? []).map((i) => i.name),
    ...(spec.outputs ?? []).map((o) => o.pattern),
  ];
  const wanted = [...new Set(texts.flatMap(placeholdersIn))];
  if (wanted.length === 0) return;
  for (const [i, item] of items.entries()) {
    const values = valuesOf(item.payload, first + i);
    const missing = wanted.find((placeholder) => !Object.hasOwn(values, placeholder));
    if (missing === undefined) continue;
    const known = Object.keys(values)
      .map((key) => `{${key}}`)
      .join(', ');
    throw new PilotageError(
      'missing-placeholder',
      `${name === null ? '' : `step '${name}': `}task ${first + i} has no value for {${missing}} (it has ${known}): give one, or write {{${missing}}} for the text itself; nothing was submitted`,
    );
  }
}

function refuseCycle(steps: readonly StepFacts[]): void {
  const names = steps.flatMap((step) => (step.name === undefined ? [] : [step.name]));
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined && steps.length > 1)
    throw new PilotageError('bad-spec', `two steps are called '${twice}': give each a name of its own`);
  const after = new Map(
    steps.map((step) => [step.name, (step.after ?? []).flatMap((on) => ('step' in on ? [on.step] : []))]),
  );
  const done = new Set<string>();
  const visit = (name: string, path: readonly string[]): void => {
    if (path.includes(name))
      throw new PilotageError(
        'dependency-cycle',
        `the steps wait for each other: ${[...path.slice(path.indexOf(name)), name].join(' → ')}; nothing was submitted`,
      );
    if (done.has(name)) return;
    for (const next of after.get(name) ?? []) visit(next, [...path, name]);
    done.add(name);
  };
  for (const name of names) visit(name, []);
}

async function refuseMissingBlobs(parts: Parts, projectId: number, steps: readonly StepFacts[]): Promise<void> {
  const digests = steps.flatMap((step) =>
    [...(step.spec.inputs ?? []), ...(step.items ?? []).flatMap((item) => item.inputs ?? [])].map(
      (input) => input.digest,
    ),
  );
  await refuseMissing(parts, projectId, digests);
}

async function refuseMissing(parts: Parts, projectId: number, digests: readonly string[]): Promise<void> {
  if (digests.length === 0) return;
  const missing = await parts.store.missingBlobs({ projectId, digests });
  if (missing.length > 0)
    throw new PilotageError(
      'not-found',
      `${missing.length} input file(s) were not uploaded to the project, the first is ${missing[0]}: upload them before the submission`,
    );
}

async function resourceWarnings(parts: Parts, steps: readonly NewSubmission[]): Promise<string[]> {
  const workers = (await parts.store.listWorkers({ all: false }))
    .filter((worker) => worker.state === 'alive')
    .map(workerFacts);
  return steps.flatMap((step, i) => {
    const shape = parseShapeKey(step.shapeKey);
    if (workers.some((worker) => fits(shape, worker))) return [];
    return [
      `no worker that is here now has what ${step.name === null ? `step ${i + 1}` : `step '${step.name}'`} asks for (${describe(shape)})`,
    ];
  });
}

export function describe(shape: Shape): string {
  const asked = [`${shape.cpus} cpu${shape.cpus === 1 ? '' : 's'}`];
  if (shape.memory > 0) asked.push(`${shape.memory} bytes of memory`);
  if (shape.gpus > 0) asked.push(`${shape.gpus} gpu${shape.gpus === 1 ? '' : 's'}`);
  for (const [name, count] of Object.entries(shape.named)) asked.push(`${count} ${name}`);
  for (const [name, value] of Object.entries(shape.labels)) asked.push(`${name}=${value}`);
  if (shape.timeRequestSeconds > 0) asked.push(`${shape.timeRequestSeconds} s of time`);
  return asked.join(', ');
}
