import { PilotageError } from '../../ground/base/errors.ts';
import { parseTarget } from '../../ground/base/task-id.ts';
import { type Principal, requireScope } from '../access/principal.ts';
import type { Parts } from './parts.ts';
import { projectOf, visibleProjects } from './projects.ts';
import type { SelectionFacts } from './selection.ts';

const PAGE = 1000;

/**
 * Removes finished submissions for good: all that were named, or none when one of them cannot go; with `all` those of
 * a project that are finished and needed by nobody. Returns how many submissions went.
 */
export async function forgetSubmissions(parts: Parts, who: Principal, selection: SelectionFacts): Promise<number> {
  requireScope(who, 'submit');
  const named = (selection.targets ?? []).map(parseTarget);
  if (named.length === 0 && !selection.all)
    throw new PilotageError(
      'bad-request',
      'nothing was named: give submissions, or say that all finished ones are meant',
    );
  const ids = named.length > 0 ? await checked(parts, who, named) : await finishedOf(parts, who, selection.project);
  let forgotten = 0;
  for (const id of ids) if (await forget(parts, id, named.length > 0)) forgotten += 1;
  parts.dirty();
  while ((await parts.store.removeChunk({ olderThanMs: parts.settings.abandonedAfterMs })) > 0);
  return forgotten;
}

async function checked(
  parts: Parts,
  who: Principal,
  targets: readonly { submission: number; index?: number | undefined }[],
): Promise<number[]> {
  const ids: number[] = [];
  for (const { submission, index } of targets) {
    if (index !== undefined)
      throw new PilotageError(
        'bad-request',
        `'${submission}.${index}' is one task: only whole submissions can be forgotten, as in 'pilotage forget ${submission}'`,
      );
    const [row] = await parts.store.getSubmissions({ ids: [submission] });
    const missing = new PilotageError(
      'not-found',
      `there is no submission ${submission}: 'pilotage tasks' shows what there is`,
    );
    if (!row || row.gate === 'loading') throw missing;
    await projectOf(parts, who, row.project).catch(() => Promise.reject(missing));
    const { waiting, queued, running } = row.counts;
    if (waiting + queued + running > 0) throw unfinished(submission, waiting + queued + running);
    ids.push(submission);
  }
  return [...new Set(ids)];
}

/** Newest first: what needs others goes before what it needs. */
async function finishedOf(parts: Parts, who: Principal, project: string | undefined): Promise<number[]> {
  const projectIds = await visibleProjects(parts, who, project);
  const ids: number[] = [];
  for (let before: number | null = null; ; ) {
    const rows = await parts.store.listSubmissions({ projectIds, before, limit: PAGE });
    for (const { id, counts } of rows) if (counts.waiting + counts.queued + counts.running === 0) ids.push(id);
    if (rows.length < PAGE) return ids;
    before = rows.at(-1)?.id ?? null;
  }
}

async function forget(parts: Parts, id: number, named: boolean): Promise<boolean> {
  const result = await parts.store.forgetSubmission({ id });
  if (result === 'forgotten') return true;
  if (!named || result === 'unknown') return false;
  if (result === 'unfinished') throw unfinished(id, 1);
  if (result === 'borrowed')
    throw new PilotageError(
      'wrong-state',
      `submission ${id} is a neighbour's, which has not heard yet how it ended: it goes by itself when that is so`,
    );
  throw new PilotageError(
    'wrong-state',
    `submission ${id} is needed by submission ${result.neededBy}, which is not finished: forget it after that`,
  );
}

function unfinished(id: number, tasks: number): PilotageError {
  return new PilotageError(
    'wrong-state',
    `submission ${id} has ${tasks} unfinished task(s): wait for them, or 'pilotage cancel ${id}' first; nothing was removed`,
  );
}
