import { randomUUID } from 'node:crypto';
import { PilotageError } from '../../ground/base/errors.ts';
import { formatTaskId } from '../../ground/base/task-id.ts';
import { mayEnter, type Principal, requireAdministrator, requireScope } from '../access/principal.ts';
import { restingNodes } from '../core/pilots.ts';
import type { PilotPlan, PilotRow, PilotSettingsRow, PilotsView } from '../store/verbs/pilots.ts';
import type { WorkerRow } from '../store/verbs/workers.ts';
import type { Parts } from './parts.ts';
import { pilotReasons } from './pilot-reasons.ts';
import { projectOf } from './projects.ts';
import { cancelPilots } from './selection.ts';
import { time, timeOrNull } from './views.ts';

export type PilotSettingsFacts = PilotPlan & { readonly max: number };

/** Makes or changes the settings of a site. It need not be known here: its agent knows it. */
export async function setPilots(parts: Parts, who: Principal, site: string, settings: PilotSettingsFacts) {
  requireAdministrator(who);
  const { max, ...plan } = settings;
  for (const name of plan.projects ?? []) await projectOf(parts, who, name);
  if (plan.tunnel && plan.serverUrl !== undefined)
    throw new PilotageError('bad-request', 'pilots reach the server either by a tunnel or at an address: not both');
  if (plan.command && !plan.projects)
    throw new PilotageError(
      'bad-request',
      'a program of your own takes the tokens of a project: say which with --project',
    );
  await parts.store.setPilots({ site, most: max, plan, owner: who.name });
  return viewOfSite(parts, who, site);
}

export async function pausePilots(parts: Parts, who: Principal, site: string, paused: boolean) {
  requireAdministrator(who);
  if (!(await parts.store.pausePilots({ site, paused }))) throw noPilots(site);
  return viewOfSite(parts, who, site);
}

export async function removePilots(parts: Parts, who: Principal, site: string): Promise<void> {
  requireAdministrator(who);
  if (!(await parts.store.removePilots({ site }))) throw noPilots(site);
}

export async function listPilots(parts: Parts, who: Principal) {
  requireScope(who, 'read');
  const view = await parts.store.listPilots();
  const workers = await parts.store.listWorkers({ all: false });
  // Whose pilots those of a removed site were is not known any more.
  const sites = who.projects === null ? [...new Set(view.pilots.map(({ site }) => site))] : [];
  const removed = sites.filter((site) => !view.settings.some((row) => row.site === site));
  return [
    ...view.settings.map((row) => viewOf(row, view, workers)),
    ...removed.map((site) => ({ ...viewOf(gone(site), view, workers), state: 'removed' as const })),
  ].flatMap((site) => asSeenBy(who, site));
}

/** Pilots for other projects are not there, nor are the names of those. */
function asSeenBy<T extends { readonly plan: PilotPlan }>(who: Principal, site: T): T[] {
  const { projects } = site.plan;
  if (!projects || who.projects === null) return [site];
  const own = projects.filter((name) => mayEnter(who, name));
  return own.length === 0 ? [] : [{ ...site, plan: { ...site.plan, projects: own } }];
}

async function viewOfSite(parts: Parts, who: Principal, site: string) {
  return (await listPilots(parts, who)).find((view) => view.site === site) as Awaited<
    ReturnType<typeof listPilots>
  >[number];
}

function noPilots(site: string): PilotageError {
  return new PilotageError(
    'not-found',
    `no pilots are set for a site '${site}': 'pilotage pilots' shows those there are`,
  );
}

function viewOf(row: PilotSettingsRow, { now, pilots, ended }: PilotsView, workers: readonly WorkerRow[]) {
  const own = pilots.filter(({ site }) => site === row.site);
  const endedAs = (outcome: string) => ended.find((one) => one.site === row.site && one.outcome === outcome)?.n ?? 0;
  const isCooling = row.cool_until > now;
  return {
    site: row.site,
    max: row.most,
    plan: JSON.parse(row.plan),
    owner: row.owner,
    state: row.paused === 1 ? ('paused' as const) : isCooling ? ('cooling-down' as const) : ('active' as const),
    wanted: row.wanted,
    queued: own.filter((pilot) => stateOf(pilot) === 'queued').length,
    pending: own.filter((pilot) => !['queued', 'working'].includes(stateOf(pilot))).length,
    working: own.filter((pilot) => stateOf(pilot) === 'working').length,
    endedToday: { worked: endedAs('worked'), failed: endedAs('failed'), cancelled: endedAs('cancelled') },
    failuresInARow: row.failures,
    coolUntil: isCooling ? time(row.cool_until) : null,
    excludedNodes: restingNodes(JSON.parse(row.nodes), now),
    reasons: pilotReasons(row, own, { now, workers }).map(({ text }) => text),
    pilots: own.map(viewOfPilot),
  };
}

/** Settings that are no more, whose pilots are. */
function gone(site: string): PilotSettingsRow {
  const plan = JSON.stringify({ slots: 1, wallTimeSeconds: 60, untilIdleSeconds: 60 });
  const none = { offer: null, failures: 0, cool_until: 0, last_reason: null, last_failed_at: null, nodes: '{}' };
  return { site, most: 0, plan, owner: '', paused: 0, updated_at: 0, wanted: 0, proven: 1, ...none };
}

function stateOf(pilot: PilotRow): string {
  if (pilot.worker_state === 'alive') return 'working';
  if (pilot.state === 'queued') return 'queued';
  return pilot.state === 'running' ? (siteOf(pilot).phase ?? 'staging') : pilot.state;
}

function siteOf(pilot: PilotRow): { phase?: string; machine?: string; batchId?: string; detail?: string } {
  return pilot.site_state === null ? {} : JSON.parse(pilot.site_state);
}

function viewOfPilot(pilot: PilotRow) {
  const { machine = null, batchId = null, detail = null } = siteOf(pilot);
  return {
    task: formatTaskId(pilot.submission_id, 1),
    state: stateOf(pilot),
    machine,
    batchId,
    detail,
    worker: pilot.worker_number === null ? null : `w${pilot.worker_number}`,
    host: pilot.worker_host,
    queuedAt: time(pilot.created_at),
    registeredAt: timeOrNull(pilot.registered_at),
    endsAt: timeOrNull(pilot.ends_at),
  };
}

const KEPT_MS = 7 * 86_400_000;

/** A round of the keeper: pilots that the backlog is worth are queued, those it is not are called off. */
export async function balancePilots(parts: Parts): Promise<void> {
  const { queued, surplus } = await parts.store.balancePilots({ fresh: randomUUID() });
  if (queued > 0) {
    parts.log.info({ queued }, 'tasks wait: pilots are sent for');
    parts.dirty();
    parts.signals.queued();
  }
  await cancelPilots(parts, surplus);
}

/** Pilots of long ago are no use to anybody. */
export async function forgetOldPilots(parts: Parts): Promise<void> {
  const submissions = await parts.store.oldPilots({ olderThanMs: KEPT_MS, limit: 100 });
  for (const id of submissions) await parts.store.forgetSubmission({ id });
  await parts.store.forgetPilots({ submissions });
}
