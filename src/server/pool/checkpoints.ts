import { parseTaskId } from '../../ground/base/task-id.ts';
import { mayEnter, type Principal, requireScope } from '../access/principal.ts';
import { sha256 } from '../store/secrets.ts';
import type { KeptCheckpoint } from './neighbours.ts';
import type { Parts } from './parts.ts';
import { requireFiles } from './trees.ts';

export interface CheckpointFacts {
  readonly task: string;
  readonly attempt: number;
  readonly secret: string;
  readonly number: number;
  readonly files: KeptCheckpoint['files'];
}

/** Keeps a checkpoint of an attempt that is the task's last one. Its files are there, or it is refused. */
export async function keepCheckpoint(parts: Parts, who: Principal, facts: CheckpointFacts) {
  requireScope(who, 'work');
  const { submission, index } = parseTaskId(facts.task);
  const task = await parts.store.getTask({ submission, idx: index });
  // Where one may not enter nothing is told of: not of a task, nor of whether files are there.
  if (!task || !mayEnter(who, task.project)) return { answer: 'stale-attempt' as const };
  await requireFiles(parts, task.project_id, facts.files);
  const answer = await parts.store.keepCheckpoint({
    submission,
    idx: index,
    attempt: facts.attempt,
    number: facts.number,
    secretHash: sha256(facts.secret),
    files: JSON.stringify(facts.files),
    digests: facts.files.map((file) => file.digest),
  });
  const { attempt, number, files } = facts;
  if (answer === 'kept') parts.neighbours.checkpointed({ submission, idx: index, attempt, number, files });
  return { answer };
}
