import { PilotageError } from '../../ground/base/errors.ts';
import { formatTaskId } from '../../ground/base/task-id.ts';
import { type Principal, requireScope, usualProject } from '../access/principal.ts';
import { fits, parseShapeKey } from '../core/shape.ts';
import { EXTRAS } from '../store/task-rows.ts';
import type { NewSubmission } from '../store/verbs/submissions.ts';
import { describe } from './describe-shape.ts';
import { countOf, refuseBadPaths, refuseCycle, refuseUnfilled, toNewSubmission, toRows } from './new-submission.ts';
import type { Parts } from './parts.ts';
import { projectOf } from './projects.ts';
import { requestKey } from './request-key.ts';
import type { ItemFacts, SpecFacts, StepFacts, SubmitRequestFacts } from './step-facts.ts';
import { requireFiles } from './trees.ts';
import { type SubmissionRow, viewOfSubmission } from './views.ts';
import { neighboursFor } from './why-neighbours.ts';
import { workerFacts } from './worker-facts.ts';

export type { ItemFacts, SubmitRequestFacts } from './step-facts.ts';

/** All of a request or none. What cannot ever run here now is accepted with a warning, or refused when `strict`. */
export async function submit(parts: Parts, principal: Principal, request: SubmitRequestFacts) {
  requireScope(principal, 'submit');
  const project = await projectOf(parts, principal, request.project ?? usualProject(principal));
  if (project.peer_id !== null)
    throw new PilotageError(
      'wrong-state',
      `project '${project.name}' holds tasks that came from a neighbour, and takes no others: submit to a project of this server ('pilotage project list'), or at the neighbour`,
    );
  if (request.steps.some(({ spec }) => spec.site !== undefined))
    throw new PilotageError('bad-spec', "what is to run at a site is a job: start it with 'pilotage job run --site'");
  refuseCycle(request.steps);
  const steps = request.steps.map((step, i) => toNewSubmission(step, request, i));
  await requireFiles(
    parts,
    project.id,
    request.steps.flatMap((step) => [
      ...(step.spec.inputs ?? []),
      ...(step.items ?? []).flatMap((item) => item.inputs ?? []),
    ]),
  );
  const warnings = await resourceWarnings(parts, project.name, steps);
  if (request.strict && warnings.length > 0)
    throw new PilotageError(
      'impossible-resources',
      `${warnings.join('; ')}: nothing was submitted, because of --strict`,
    );
  const large = request.steps.some((step) => step.array !== undefined && countOf(step.array) > 20_000);
  const inParts = large || request.steps.some((step) => step.reuse);
  const result = await parts.store.submit({
    projectId: project.id,
    owner: principal.name,
    requestId: requestKey(principal, project.id, request.requestId),
    open: request.open === true || inParts,
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
  if (inParts && request.open !== true)
    await open(
      parts,
      result.ids,
      request.steps.map((step) => step.reuse === true),
    );
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

/** Once all tasks are there, those whose answer is known get it; then all become visible at once. */
async function open(parts: Parts, ids: readonly number[], reuse: readonly boolean[]): Promise<void> {
  for (const [i, id] of ids.entries()) {
    if (!reuse[i]) continue;
    for (let after: number | null = -1; after !== null; ) {
      const graceMs = parts.settings.blobGraceMs;
      after = (await parts.store.answerReused({ id, after, graceMs })).next;
    }
  }
  await parts.store.openSubmissions({ ids });
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
  refuseBadPaths(spec, items, `submission ${id}`);
  await requireFiles(
    parts,
    row.project_id,
    items.flatMap((item) => item.inputs ?? []),
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
  const rows = await parts.store.getRequest({ id: row.id });
  const ids = rows.map((one) => one.id);
  await open(
    parts,
    ids,
    rows.map((one) => (one.extras & EXTRAS.reuse) !== 0),
  );
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
  const missing = new PilotageError('not-found', `there is no submission ${id}`);
  if (!row || row.request_id === null) throw missing;
  await projectOf(parts, principal, row.project).catch(() => Promise.reject(missing));
  return row;
}

async function resourceWarnings(parts: Parts, project: string, steps: readonly NewSubmission[]): Promise<string[]> {
  const workers = (await parts.store.listWorkers({ all: false }))
    .filter((worker) => worker.state === 'alive')
    .map(workerFacts);
  const neighbours = await neighboursFor(parts, project);
  const elsewhere = neighbours.length === 0 ? '' : `; one of a neighbour may (${neighbours.join(', ')})`;
  return steps.flatMap((step, i) => {
    const shape = parseShapeKey(step.shapeKey);
    if (workers.some((worker) => fits(shape, worker))) return [];
    return [
      `no worker that is here now has what ${step.name === null ? `step ${i + 1}` : `step '${step.name}'`} asks for (${describe(shape)})${shape.kind === 'command' ? elsewhere : ''}`,
    ];
  });
}
