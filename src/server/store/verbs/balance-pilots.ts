/** Fits the pilots of all sites to what is queued, in one transaction: two servers never do it at once. */
import { fitToBacklog, type PilotKind, type Present, usefulSecondsOf } from '../../core/pilots.ts';
import { type Db, firstRow } from '../db.ts';
import { sql } from '../sql.ts';
import { judgeEnded, OVER } from './judge-pilots.ts';
import { backlogOf, workersThere } from './pilot-backlog.ts';
import { toPilotStep } from './pilot-step.ts';
import {
  openPilots,
  type PilotPlan,
  type PilotRow,
  type PilotSettingsRow,
  pilotProject,
  pilotSettings,
  totalOf,
} from './pilots.ts';
import { submit } from './submissions.ts';

export interface Balanced {
  readonly queued: number;
  /** Pilots that have not begun, and that nobody needs any more: to be cancelled. */
  readonly surplus: readonly number[];
}

/** So many are sent at once to a site where none has worked yet; after failures, one. */
const UNPROVEN = 2;
const PER_ROUND = 10;
/** A backlog that is gone for a moment costs no place in a batch system's queue. */
const UNWANTED_MS = 30_000;

/** `fresh` makes the requests of this round different from all others. */
export async function balancePilots(db: Db, input: { fresh: string }): Promise<Balanced> {
  const nothing = { queued: 0, surplus: [] };
  if (!(await isNeeded(db)) || !(await isOnlyBalancer(db))) return nothing;
  await judgeEnded(db);
  const settings = await pilotSettings(db);
  const pilots = await openPilots(db);
  const backlog = settings.length === 0 ? [] : await backlogOf(db, kindsOf(settings));
  const projects = await projectIds(db);
  const working = backlog.length === 0 ? [] : await workersThere(db);
  const coming = pilots.filter(isComing).filter((pilot) => !isStuck(pilot));
  const kinds = settings.flatMap((row) => kindOf(db, row, pilots, projects));
  const { more, used } = fitToBacklog(
    backlog,
    [...working, ...coming.flatMap((one) => comingAs(one, settings, projects))],
    kinds,
  );
  for (const row of settings) await keepWanted(db, row, pilots, { more: more.get(row.site) ?? 0, used });
  let queued = 0;
  for (const row of settings)
    queued += await queuePilots(
      db,
      row,
      Math.min(more.get(row.site) ?? 0, roomFor(row, pilots)),
      `${input.fresh}:${row.site}`,
    );
  const stuck = backlog.length === 0 ? [] : pilots.filter(isStuck);
  const kept = new Set([...used, ...stuck.map(idOf)]);
  return { queued, surplus: await surplusOf(db, pilots, settings, kept) };
}

/** Tokens without a command are for pilots that know what to do with them. */
function kindsOf(settings: readonly PilotSettingsRow[]): string[] {
  const isForTokens = ({ plan }: PilotSettingsRow) => (JSON.parse(plan) as PilotPlan).command !== undefined;
  return settings.some(isForTokens) ? ['command', 'payload'] : ['command'];
}

async function isNeeded(db: Db): Promise<boolean> {
  const found = await firstRow(
    db,
    sql`select 1 as one where exists (select 1 from pilot_settings) or exists (select 1 from pilots where ended_at is null)`,
  );
  return found !== undefined;
}

async function isOnlyBalancer(db: Db): Promise<boolean> {
  if (db.dialect !== 'postgres') return true;
  const row = await firstRow<{ mine: boolean }>(db, sql`select pg_try_advisory_xact_lock(7304) as mine`);
  return row?.mine === true;
}

async function projectIds(db: Db): Promise<ReadonlyMap<string, number>> {
  const rows = await db.rows<{ id: number; name: string }>(sql`select id, name from projects`);
  return new Map(rows.map(({ id, name }) => [name, id]));
}

function isComing(pilot: PilotRow): boolean {
  return pilot.registered_at === null && !OVER.includes(pilot.state);
}

/** It will never come by itself: others may be sent in its place. */
function isStuck(pilot: PilotRow): boolean {
  const { phase, hopeless } = siteOf(pilot);
  return hopeless === true || phase === 'login';
}

function siteOf({ site_state: state }: PilotRow): { phase?: string; hopeless?: boolean } {
  return state === null ? {} : JSON.parse(state);
}

function factsOf({ plan: text, offer }: PilotSettingsRow, projects: ReadonlyMap<string, number>) {
  const plan = JSON.parse(text) as PilotPlan;
  const total = totalOf(plan, offer);
  return {
    facts: {
      kinds: plan.command ? ['payload'] : ['command'],
      total,
      labels: plan.labels ?? {},
      remainingSeconds: usefulSecondsOf(plan.wallTimeSeconds),
    },
    projects: plan.projects?.flatMap((name) => projects.get(name) ?? []) ?? null,
  };
}

function comingAs(
  pilot: PilotRow,
  settings: readonly PilotSettingsRow[],
  projects: ReadonlyMap<string, number>,
): Present[] {
  const row = settings.find(({ site }) => site === pilot.site);
  if (!row || row.paused === 1 || row.updated_at > pilot.created_at) return [];
  const as = factsOf(row, projects);
  return [{ id: idOf(pilot), free: as.facts.total, ...as }];
}

function idOf({ submission_id: id }: PilotRow): string {
  return `pilot ${id}`;
}

/** Nothing for a site that rests. */
function kindOf(
  db: Db,
  row: PilotSettingsRow,
  pilots: readonly PilotRow[],
  projects: ReadonlyMap<string, number>,
): PilotKind[] {
  if (row.paused === 1 || row.cool_until > db.now) return [];
  const there = pilots.filter(({ site }) => site === row.site).length;
  return [{ site: row.site, most: Math.max(0, row.most - there), ...factsOf(row, projects) }];
}

/** A site is tried before it is trusted. */
function roomFor(row: PilotSettingsRow, pilots: readonly PilotRow[]): number {
  const coming = pilots.filter((pilot) => pilot.site === row.site && isComing(pilot)).length;
  if (row.failures > 0) return Math.max(0, 1 - coming);
  return row.proven === 1 ? PER_ROUND : Math.max(0, UNPROVEN - coming);
}

async function keepWanted(
  db: Db,
  row: PilotSettingsRow,
  pilots: readonly PilotRow[],
  { more, used }: { more: number; used: ReadonlySet<string> },
): Promise<void> {
  const kept = pilots.filter(
    (one) => one.site === row.site && (one.registered_at !== null || used.has(idOf(one))),
  ).length;
  if (kept + more !== row.wanted)
    await db.run(sql`update pilot_settings set wanted = ${kept + more} where site = ${row.site}`);
}

async function queuePilots(db: Db, row: PilotSettingsRow, count: number, request: string): Promise<number> {
  if (count <= 0) return 0;
  const projectId = await pilotProject(db);
  const plan = JSON.parse(row.plan) as PilotPlan;
  for (let at = 0; at < count; at += 1) {
    const made = await submit(db, {
      projectId,
      owner: row.owner,
      requestId: `pilot:${request}:${at}`,
      open: false,
      steps: [toPilotStep(row, plan, db.now)],
    });
    if (!made.ok || made.repeated) continue;
    await db.run(
      sql`insert into pilots (submission_id, site, created_at) values (${made.ids[0] as number}, ${row.site}, ${db.now})`,
    );
  }
  return count;
}

/** Of those that have not begun; what an older plan asked for goes at once, and so does what no agent has taken up. */
async function surplusOf(
  db: Db,
  pilots: readonly PilotRow[],
  settings: readonly PilotSettingsRow[],
  kept: ReadonlySet<string>,
): Promise<number[]> {
  const surplus: number[] = [];
  for (const pilot of pilots.filter((one) => isComing(one) && hasNotBegun(one))) {
    const row = settings.find(({ site }) => site === pilot.site);
    const isOld = !row || row.paused === 1 || row.updated_at > pilot.created_at;
    const isWanted = !isOld && kept.has(idOf(pilot));
    if (isWanted) {
      if (pilot.unwanted_since !== null)
        await db.run(sql`update pilots set unwanted_since = null where submission_id = ${pilot.submission_id}`);
      continue;
    }
    const since = pilot.unwanted_since ?? db.now;
    if (pilot.unwanted_since === null)
      await db.run(sql`update pilots set unwanted_since = ${since} where submission_id = ${pilot.submission_id}`);
    if (isOld || pilot.state === 'queued' || db.now - since >= UNWANTED_MS) surplus.push(pilot.submission_id);
  }
  return surplus;
}

function hasNotBegun(pilot: PilotRow): boolean {
  const { phase = 'staging' } = siteOf(pilot);
  return pilot.state === 'queued' || ['login', 'staging', 'submitting', 'pending'].includes(phase);
}
