import { PilotageError } from '../../ground/base/errors.ts';
import { parseTarget, type Target } from '../../ground/base/task-id.ts';
import { type Principal, requireScope } from '../access/principal.ts';
import type { Parts } from './parts.ts';
import { projectOf, visibleProjects } from './projects.ts';
import { viewOfDetail } from './views.ts';

export interface SelectionFacts {
  readonly targets?: readonly string[] | undefined;
  readonly all?: boolean | undefined;
  readonly project?: string | undefined;
}

interface Chosen {
  readonly submission: number;
  readonly idx: number | null;
  readonly tasks: number;
}

/** Cancels tasks and whole submissions; programs that run are ended. Returns how many tasks. */
export async function cancelTasks(parts: Parts, principal: Principal, selection: SelectionFacts): Promise<number> {
  requireScope(principal, 'submit');
  const chosen = await choose(parts, principal, selection, 'unfinished');
  let changed = 0;
  for (const { submission, idx } of chosen) if (idx !== null) changed += await cancelOne(parts, submission, idx);
  const whole = [...new Set(chosen.filter(({ idx }) => idx === null).map(({ submission }) => submission))];
  const before = await cancelledOf(parts, whole);
  for (const id of whole) await parts.store.endSubmission({ id, as: 'cancelled' });
  await endEnding(parts);
  return changed + (await cancelledOf(parts, whole)) - before;
}

/** The keeper ends what is ending too: how many tasks a cancellation reached is what the counts say, not who did it. */
async function cancelledOf(parts: Parts, submissions: readonly number[]): Promise<number> {
  const rows = await parts.store.getSubmissions({ ids: submissions });
  return rows.reduce((sum, { counts }) => sum + counts.cancelled, 0);
}

async function cancelOne(parts: Parts, submission: number, idx: number): Promise<number> {
  const { ended, sessions } = await parts.store.endTasks({ submission, idx, as: 'cancelled', limit: 1 });
  await alert(parts, [submission], sessions);
  return ended;
}

/** Each pilot is the one task of its submission. */
export async function cancelPilots(parts: Parts, submissions: readonly number[]): Promise<void> {
  for (const submission of submissions) await cancelOne(parts, submission, 1);
}

/** Ends what is ending, chunk by chunk, so that heartbeats come in between. Also called at a start, for what a crash left. */
export async function endEnding(parts: Parts): Promise<void> {
  for (;;) {
    const { ended, sessions, submissions } = await parts.store.endChunk();
    if (ended === 0) return;
    await alert(parts, submissions, sessions);
  }
}

/** A cancellation is told to workers at once; should the server die before, their next heartbeat tells them. */
async function alert(parts: Parts, submissions: readonly number[], sessions: readonly string[]): Promise<void> {
  await parts.store.alertWorkers({ sessions });
  tell(parts, submissions, sessions);
}

function tell(parts: Parts, submissions: readonly number[], sessions: readonly string[]): void {
  parts.dirty();
  for (const submission of submissions) parts.signals.changed(submission);
  for (const session of sessions) parts.signals.session(session);
}

/** Queues failed and cancelled tasks again (`all`: failed ones only). Returns how many. */
export async function retryTasks(parts: Parts, principal: Principal, selection: SelectionFacts): Promise<number> {
  requireScope(principal, 'submit');
  let changed = 0;
  for (const { submission, idx } of await choose(parts, principal, selection, 'unsuccessful')) {
    const gone = await goneBefore(parts, submission);
    if (gone !== undefined && selection.all) continue;
    if (gone !== undefined) throw comesAfterGone(submission, gone);
    let now: number;
    do {
      now = await parts.store.retryTasks({ submission, idx, failedOnly: selection.all === true });
      changed += now;
    } while (now === 10_000);
    tell(parts, [submission], []);
  }
  parts.signals.queued();
  return changed;
}

/** A submission that this one waits for, and that was forgotten: it would wait for ever. */
async function goneBefore(parts: Parts, id: number): Promise<number | undefined> {
  const [row] = await parts.store.getSubmissions({ ids: [id] });
  if (row?.gate !== 'waiting') return undefined;
  const open = row.after.filter((on) => !on.done).map((on) => on.submission);
  if (open.length === 0) return undefined;
  const there = await parts.store.getSubmissions({ ids: open });
  return open.find((on) => !there.some((one) => one.id === on && one.gate !== 'loading'));
}

function comesAfterGone(id: number, gone: number): PilotageError {
  return new PilotageError(
    'wrong-state',
    `submission ${id} waits for submission ${gone}, which was removed: submit it anew, without that or after another one`,
  );
}

async function choose(
  parts: Parts,
  principal: Principal,
  selection: SelectionFacts,
  all: 'unfinished' | 'unsuccessful',
): Promise<Chosen[]> {
  const targets = (selection.targets ?? []).map(parseTarget);
  if (targets.length > 0) {
    const chosen: Chosen[] = [];
    for (const target of targets) chosen.push(await chosenTarget(parts, principal, target));
    return chosen;
  }
  if (!selection.all)
    throw new PilotageError('bad-request', 'nothing was named: give submissions or tasks, or say that all are meant');
  const projects = await visibleProjects(parts, principal, selection.project);
  const ids = (await Promise.all((projects ?? [null]).map((projectId) => parts.store[all]({ projectId })))).flat();
  return ids.map((submission) => ({ submission, idx: null, tasks: 0 }));
}

async function chosenTarget(parts: Parts, principal: Principal, target: Target): Promise<Chosen> {
  const [row] = await parts.store.getSubmissions({ ids: [target.submission] });
  const name =
    target.index === undefined ? `submission ${target.submission}` : `task ${target.submission}.${target.index}`;
  const missing = new PilotageError('not-found', `there is no ${name}: 'pilotage tasks' shows those there are`);
  if (!row || row.gate === 'loading') throw missing;
  await projectOf(parts, principal, row.project).catch(() => Promise.reject(missing));
  if (target.index !== undefined && !(await parts.store.getTask({ submission: target.submission, idx: target.index })))
    throw missing;
  return { submission: target.submission, idx: target.index ?? null, tasks: row.tasks };
}

/** Makes a report that was kept aside the outcome of a task that failed meanwhile. */
export async function acceptLate(parts: Parts, principal: Principal, id: string, attempt: number | undefined) {
  requireScope(principal, 'submit');
  const chosen = await chosenTarget(parts, principal, parseTarget(id));
  if (chosen.idx === null)
    throw new PilotageError('bad-request', `'${id}' is a submission: name one task of it, as in '${id}.1'`);
  const key = { submission: chosen.submission, idx: chosen.idx };
  const result = await parts.store.acceptLate({ ...key, attempt: attempt ?? null });
  if (result === 'no-late-report')
    throw new PilotageError(
      'not-found',
      `task ${id} has no report that was kept aside: 'pilotage task ${id}' shows its attempts`,
    );
  if (result === 'files-gone')
    throw new PilotageError(
      'wrong-state',
      `the files that the late report of task ${id} names are no longer here: 'pilotage retry ${id}' runs it again`,
    );
  if (result === 'not-failed')
    throw new PilotageError(
      'wrong-state',
      `task ${id} did not fail: a report that was kept aside can only take the place of a failure`,
    );
  tell(parts, [chosen.submission], []);
  const row = await parts.store.getTask(key);
  return viewOfDetail(row as NonNullable<typeof row>);
}
