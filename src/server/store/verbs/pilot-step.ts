import { restingNodes, workerSecondsOf } from '../../core/pilots.ts';
import { shapeKey } from '../../core/shape.ts';
import type { PilotPlan, PilotSettingsRow } from './pilots.ts';
import type { NewSubmission } from './submissions.ts';

/** A worker with its helpers and its log: what it offers is for tasks alone. */
const OWN_MEMORY = 256 * 1024 ** 2;

/** A pilot as the one task of a submission: an agent of its site claims it. It is never run a second time by itself. */
export function toPilotStep(row: PilotSettingsRow, plan: PilotPlan, now: number): NewSubmission {
  const labels = { [`site:${row.site}`]: 'yes' };
  const memory = plan.memory === undefined ? undefined : plan.memory + OWN_MEMORY;
  const resources = { cpus: plan.slots, memory, gpus: plan.gpus };
  const exclude = restingNodes(JSON.parse(row.nodes), now);
  const spec = {
    command: plan.command ?? ['pilotage', 'worker'],
    resources,
    timeLimitSeconds: plan.wallTimeSeconds,
    retry: { limit: 0, lostLimit: 1, endedLimit: 1 },
    site: { name: row.site, pilot: { ...plan, workerSeconds: workerSecondsOf(plan.wallTimeSeconds), exclude } },
  };
  return {
    name: `pilot at ${row.site}`,
    shapeKey: shapeKey({
      kind: 'site',
      cpus: plan.slots,
      memory: 0,
      gpus: 0,
      named: {},
      labels,
      timeRequestSeconds: 0,
    }),
    spec: JSON.stringify(spec),
    priority: 0,
    notBefore: null,
    after: [],
    array: null,
    items: { first: 1, payloads: [null], inputs: [null], digests: [] },
    digests: [],
    question: null,
    hasCheckpoint: false,
    reuse: false,
    from: [],
  };
}
