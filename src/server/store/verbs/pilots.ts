import type { Capacity } from '../../core/shape.ts';
import type { RowState } from '../../core/task.ts';
import { type Db, firstRow } from '../db.ts';
import { type Sql, sql } from '../sql.ts';

/** What pilots of a site are to be. Sizes in bytes, times in seconds. */
export interface PilotPlan {
  readonly slots: number;
  readonly memory?: number | undefined;
  readonly gpus?: number | undefined;
  readonly named?: Readonly<Record<string, number>> | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly zone?: string | undefined;
  readonly wallTimeSeconds: number;
  readonly untilIdleSeconds: number;
  readonly projects?: readonly string[] | undefined;
  readonly queueOptions?: readonly string[] | undefined;
  readonly serverUrl?: string | undefined;
  readonly tunnel?: boolean | undefined;
  /** In place of a worker of ours: a client that takes the tokens of its projects by itself. */
  readonly command?: readonly string[] | undefined;
  readonly directory?: string | undefined;
}

export interface PilotSettingsRow {
  readonly site: string;
  readonly most: number;
  /** JSON: a `PilotPlan`. */
  readonly plan: string;
  readonly owner: string;
  readonly paused: number;
  readonly updated_at: number;
  readonly wanted: number;
  /** One of these has worked since the settings were made. */
  readonly proven: number;
  /** JSON: what the last one that came had. */
  readonly offer: string | null;
  readonly failures: number;
  readonly cool_until: number;
  readonly last_reason: string | null;
  readonly last_failed_at: number | null;
  /** JSON: `NodeFailures`. */
  readonly nodes: string;
}

/** A pilot that is not over, with its task and its worker. */
export interface PilotRow {
  readonly submission_id: number;
  readonly site: string;
  readonly created_at: number;
  readonly registered_at: number | null;
  readonly unwanted_since: number | null;
  /** JSON: the spec of its one task. */
  readonly spec: string;
  readonly state: RowState;
  readonly site_state: string | null;
  readonly started_at: number | null;
  readonly finished_at: number | null;
  readonly reason: string | null;
  readonly message: string | null;
  readonly worker_number: number | null;
  readonly worker_state: string | null;
  readonly worker_host: string | null;
  readonly worker_total: string | null;
  readonly ends_at: number | null;
}

export const OPEN_PILOTS: Sql = sql`select p.submission_id, p.site, p.created_at, p.registered_at, p.unwanted_since, s.spec, t.state, t.site_state,
    t.started_at, t.finished_at, t.reason,
    (select a.message from attempts a where a.submission_id = t.submission_id and a.idx = t.idx and a.attempt = t.attempt) as message,
    w.number as worker_number, w.state as worker_state, w.host as worker_host, w.total as worker_total, w.ends_at
  from pilots p join submissions s on s.id = p.submission_id join tasks t on t.submission_id = p.submission_id and t.idx = 1
    left join workers w on w.number = (select max(x.number) from workers x where x.pilot = p.submission_id)
  where p.ended_at is null`;

export async function openPilots(db: Db): Promise<PilotRow[]> {
  return db.rows<PilotRow>(sql`${OPEN_PILOTS} order by p.submission_id`);
}

/** Makes or changes the settings of a site; what went wrong with others is forgotten. */
export async function setPilots(
  db: Db,
  input: { site: string; most: number; plan: PilotPlan; owner: string },
): Promise<void> {
  const plan = JSON.stringify(input.plan);
  await db.run(sql`insert into pilot_settings (site, most, plan, owner, updated_at) values (${input.site}, ${input.most}, ${plan}, ${input.owner}, ${db.now})
    on conflict (site) do update set most = excluded.most, owner = excluded.owner, paused = 0, failures = 0, cool_until = 0, nodes = '{}',
      last_reason = null, last_failed_at = null,
      proven = case when pilot_settings.plan = excluded.plan then pilot_settings.proven else 0 end,
      updated_at = case when pilot_settings.plan = excluded.plan then pilot_settings.updated_at else excluded.updated_at end, plan = excluded.plan`);
}

/** False: there are no settings for that site. */
export async function pausePilots(db: Db, input: { site: string; paused: boolean }): Promise<boolean> {
  const again = input.paused ? sql`` : sql`, failures = 0, cool_until = 0, nodes = '{}'`;
  const changed = await db.run(
    sql`update pilot_settings set paused = ${input.paused ? 1 : 0} ${again} where site = ${input.site}`,
  );
  return changed > 0;
}

export async function removePilots(db: Db, input: { site: string }): Promise<boolean> {
  return (await db.run(sql`delete from pilot_settings where site = ${input.site}`)) > 0;
}

export interface PilotsView {
  readonly now: number;
  readonly settings: readonly PilotSettingsRow[];
  readonly pilots: readonly PilotRow[];
  /** Those of the last day, by site and outcome. */
  readonly ended: readonly { readonly site: string; readonly outcome: string; readonly n: number }[];
}

const DAY_MS = 86_400_000;

export async function listPilots(db: Db): Promise<PilotsView> {
  const settings = await pilotSettings(db);
  const ended = await db.rows<{ site: string; outcome: string; n: number }>(
    sql`select site, outcome, count(*) as n from pilots where ended_at is not null and ended_at > ${db.now - DAY_MS} group by site, outcome`,
  );
  return {
    now: db.now,
    settings,
    pilots: await openPilots(db),
    ended: ended.map((row) => ({ ...row, n: Number(row.n) })),
  };
}

export function pilotSettings(db: Db): Promise<PilotSettingsRow[]> {
  return db.rows<PilotSettingsRow>(sql`select * from pilot_settings order by site`);
}

/** Pilots that ended long ago, to be forgotten with their tasks. */
export async function oldPilots(db: Db, input: { olderThanMs: number; limit: number }): Promise<number[]> {
  const rows = await db.rows<{ submission_id: number }>(
    sql`select submission_id from pilots where ended_at is not null and ended_at < ${db.now - input.olderThanMs} order by ended_at limit ${input.limit}`,
  );
  return rows.map((row) => row.submission_id);
}

export async function forgetPilots(db: Db, input: { submissions: readonly number[] }): Promise<void> {
  for (const id of input.submissions)
    await db.run(sql`delete from pilots where submission_id = ${id} and ended_at is not null`);
}

/** The project that pilots are tasks of, made when it is first needed. */
export async function pilotProject(db: Db): Promise<number> {
  await db.run(
    sql`insert into projects (name, owner, created_at) values ('pilots', 'admin', ${db.now}) on conflict (name) do nothing`,
  );
  const row = await firstRow<{ id: number }>(db, sql`select id from projects where name = 'pilots'`);
  return row?.id ?? 0;
}

/** What a pilot that just came has; of memory as much as the last one, where the plan leaves that to the node. */
export function totalOf(plan: PilotPlan, offer: string | null): Capacity {
  const seen = offer === null ? undefined : (JSON.parse(offer) as Capacity);
  return {
    cpus: plan.slots,
    memory: plan.memory ?? seen?.memory ?? Number.MAX_SAFE_INTEGER,
    gpus: plan.gpus ?? 0,
    named: plan.named ?? {},
  };
}
