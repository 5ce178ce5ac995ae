import { formatDuration } from '../../ground/base/duration.ts';
import { usefulSecondsOf } from '../core/pilots.ts';
import { type Obstacle, obstacles, type Shape } from '../core/shape.ts';
import { type PilotPlan, type PilotRow, type PilotSettingsRow, totalOf } from '../store/verbs/pilots.ts';
import type { WorkerRow } from '../store/verbs/workers.ts';
import type { Parts } from './parts.ts';
import type { Reason } from './why-reason.ts';
import { workerFacts } from './worker-facts.ts';

/** What has to be said of a site's pilots, the most telling first. */
export function pilotReasons(
  row: PilotSettingsRow,
  pilots: readonly PilotRow[],
  { now, workers }: { now: number; workers: readonly WorkerRow[] },
): Reason[] {
  const failed = row.last_reason === null || row.failures === 0 ? [] : [ofFailures(row, row.last_reason, now)];
  if (row.paused === 1)
    return [
      {
        code: 'pilots-paused',
        text: `pilots for site '${row.site}' are paused: 'pilotage pilots resume --site ${row.site}' sends them again`,
        numbers: {},
      },
    ];
  return [...ofAgent(row, workers), ...failed, ...ofWaiting(row, pilots, now), ...ofMost(row, pilots)];
}

function ofFailures(row: PilotSettingsRow, said: string, now: number): Reason {
  const rest = Math.max(0, (row.cool_until - now) / 1000);
  const times = row.failures === 1 ? 'the last pilot' : `the last ${row.failures} pilots`;
  const next =
    rest > 0
      ? `the next is tried in ${formatDuration(rest)} ('pilotage pilots resume --site ${row.site}' tries at once)`
      : 'one more is tried';
  return {
    code: rest > 0 ? 'pilots-cooling-down' : 'pilots-failed',
    text: `${times} for site '${row.site}' came to nothing, ${next}: ${said}`,
    numbers: { failures: row.failures, seconds: rest },
  };
}

/** Agents say which sites they serve, and may be kept to projects. */
function ofAgent(row: PilotSettingsRow, workers: readonly WorkerRow[]): Reason[] {
  const serving = workers.filter(
    (worker) => worker.state === 'alive' && workerFacts(worker).labels[`site:${row.site}`] === 'yes',
  );
  if (serving.length > 0) return [];
  return [
    {
      code: 'no-agent',
      text: `no agent is there that serves site '${row.site}', and so no pilot gets there: run 'pilotage agent' as the user who may log in there`,
      numbers: { agents: 0 },
    },
  ];
}

function ofWaiting(row: PilotSettingsRow, pilots: readonly PilotRow[], now: number): Reason[] {
  const waiting = pilots.filter((pilot) => pilot.worker_state !== 'alive' && pilot.registered_at === null);
  if (waiting.length === 0) return [];
  const oldest = Math.max(...waiting.map((pilot) => (now - pilot.created_at) / 1000), 0);
  const numbers = { pilots: waiting.length, seconds: oldest };
  const count = waiting.length === 1 ? 'one pilot is' : `${waiting.length} pilots are`;
  const details = [...new Set(waiting.flatMap((pilot) => detailOf(pilot)))].slice(0, 3);
  const said = details.length === 0 ? '' : `: ${details.join('; ')}`;
  const text = `${count} on the way to site '${row.site}', the first for ${formatDuration(oldest)}${said}`;
  return [{ code: 'pilots-coming', text, numbers }];
}

function detailOf(pilot: PilotRow): string[] {
  const { phase, detail } = JSON.parse(pilot.site_state ?? '{}') as { phase?: string; detail?: string };
  if (detail !== undefined) return [detail];
  if (pilot.state === 'queued') return ['its agent has not taken it up yet'];
  return phase === 'pending' ? ['it waits in the queue of the batch system'] : [];
}

function ofMost(row: PilotSettingsRow, pilots: readonly PilotRow[]): Reason[] {
  if (pilots.length < row.most) return [];
  const text = `site '${row.site}' has all the ${row.most} pilots that it may have: 'pilotage pilots set --site ${row.site} --max N' allows more`;
  return [{ code: 'pilots-at-most', text, numbers: { most: row.most } }];
}

/** What pilots could do for a task that waits. Says nothing where nobody set any. */
export async function whyNoPilot(parts: Parts, shape: Shape, project: string): Promise<Reason[]> {
  if (shape.kind !== 'command') return [];
  const { now, settings, pilots } = await parts.store.listPilots();
  if (settings.length === 0) return [];
  const workers = await parts.store.listWorkers({ all: false });
  const able = settings.filter((row) => standsBetween(row, shape, project).length === 0);
  if (able.length > 0)
    return able.flatMap((row) =>
      pilotReasons(
        row,
        pilots.filter(({ site }) => site === row.site),
        { now, workers },
      ),
    );
  const lacks = settings.map((row) => `'${row.site}' (${standsBetween(row, shape, project).join(', ')})`).join(', ');
  const text = `no pilot could run it, for what it asks for: ${lacks}; 'pilotage pilots set' makes larger ones`;
  return [{ code: 'no-pilot-fits', text, numbers: { sites: settings.length } }];
}

function standsBetween(row: PilotSettingsRow, shape: Shape, project: string): (Obstacle | 'project')[] {
  const plan = JSON.parse(row.plan) as PilotPlan;
  const facts = {
    kinds: plan.command ? ['payload'] : ['command'],
    total: totalOf(plan, row.offer),
    labels: plan.labels ?? {},
    remainingSeconds: usefulSecondsOf(plan.wallTimeSeconds),
  };
  const isOutside = plan.projects !== undefined && !plan.projects.includes(project);
  return [...obstacles(shape, facts), ...(isOutside ? (['project'] as const) : [])];
}
