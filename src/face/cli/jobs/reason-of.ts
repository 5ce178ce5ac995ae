import type { JobView } from '../../../ground/protocol/job.ts';
import { calls } from '../calls.ts';
import type { Invocation } from '../invocation.ts';

/** Why it does not start, or that nobody has heard of its agent. Its agent itself tells all else, as `detail`. */
export async function reasonOf(invocation: Invocation, { state, task, phase }: JobView): Promise<string | undefined> {
  if (task === null || (state !== 'INCOMING' && phase === null)) return undefined;
  const why = await invocation
    .client()
    .call(calls.why, { params: { id: task } })
    .catch(() => undefined);
  const told = why?.reasons.find(({ code }) => state === 'INCOMING' || code === 'agent-silent');
  return told?.text;
}
