import { PilotageError } from '../../ground/base/errors.ts';
import { parseTarget } from '../../ground/base/task-id.ts';
import { calls } from './calls.ts';
import type { Invocation } from './invocation.ts';

/** The task that was named; a submission stands for its task where it has only one. */
export async function onlyTask(invocation: Invocation, text: string): Promise<string> {
  const target = parseTarget(text);
  if (target.index !== undefined) return text.trim();
  const { submission } = target;
  const { tasks } = await invocation.client().call(calls.tasks, { query: { submission, limit: 2 } });
  const [first, second] = tasks;
  if (!first)
    throw new PilotageError(
      'not-found',
      `there is no submission ${submission} that you can see: 'pilotage status' lists the latest`,
    );
  if (second)
    throw new PilotageError(
      'bad-request',
      `submission ${submission} has several tasks: name one of them, as in '${first.id}'`,
    );
  return first.id;
}
