import { coolDownMs, nodesAfterSuccess, withNodeFailure } from '../../core/pilots.ts';
import { type Db, firstRow } from '../db.ts';
import { sql } from '../sql.ts';
import { openPilots, type PilotRow, type PilotSettingsRow } from './pilots.ts';

export const OVER: readonly string[] = ['succeeded', 'failed', 'cancelled'];

/** Pilots that are over: did they come to work? Those that did not let their site, and their node, rest. */
export async function judgeEnded(db: Db): Promise<void> {
  await noteClients(db);
  const pilots = await openPilots(db);
  const ended = pilots.filter(({ state }) => OVER.includes(state));
  for (const pilot of ended.sort((a, b) => (a.finished_at ?? 0) - (b.finished_at ?? 0))) {
    const worked = pilot.registered_at !== null || (isClient(pilot) && pilot.state === 'succeeded');
    const outcome = worked ? 'worked' : pilot.state === 'cancelled' ? 'cancelled' : 'failed';
    await db.run(
      sql`update pilots set ended_at = ${pilot.finished_at ?? db.now}, outcome = ${outcome} where submission_id = ${pilot.submission_id}`,
    );
    if (outcome === 'failed') await keepFailure(db, pilot);
  }
  for (const pilot of pilots) if (pilot.registered_at !== null) await keepSuccess(db, pilot);
}

/** A pilot that runs a program of the users' own, which takes tokens by itself, never registers: it came when it ran. */
async function noteClients(db: Db): Promise<void> {
  for (const pilot of await openPilots(db)) {
    const { phase } = JSON.parse(pilot.site_state ?? '{}') as { phase?: string };
    if (pilot.registered_at !== null || phase !== 'running' || !isClient(pilot)) continue;
    await db.run(sql`update pilots set registered_at = ${db.now} where submission_id = ${pilot.submission_id}`);
  }
}

function isClient({ spec }: PilotRow): boolean {
  const { site } = JSON.parse(spec) as { site?: { pilot?: { command?: unknown } } };
  return site?.pilot?.command !== undefined;
}

async function keepFailure(db: Db, pilot: PilotRow): Promise<void> {
  const row = await firstRow<PilotSettingsRow>(
    db,
    sql`select * from pilot_settings where site = ${pilot.site} and updated_at <= ${pilot.created_at}`,
  );
  if (!row) return;
  const failures = row.failures + 1;
  const at = pilot.finished_at ?? db.now;
  const until = coolDownMs(failures) === 0 ? 0 : at + coolDownMs(failures);
  const { node } = JSON.parse(pilot.site_state ?? '{}') as { node?: string };
  const nodes = withNodeFailure(JSON.parse(row.nodes), node, at);
  const said = pilot.message ?? pilot.reason ?? 'it ended without a word, and never came to the server';
  await db.run(sql`update pilot_settings set failures = ${failures}, cool_until = ${until}, last_reason = ${said}, last_failed_at = ${at},
    nodes = ${JSON.stringify(nodes)} where site = ${pilot.site}`);
}

async function keepSuccess(db: Db, pilot: PilotRow): Promise<void> {
  const offer = pilot.worker_total;
  const row = await firstRow<Pick<PilotSettingsRow, 'nodes'>>(
    db,
    sql`select nodes from pilot_settings
    where site = ${pilot.site} and updated_at <= ${pilot.created_at} and (last_failed_at is null or last_failed_at <= ${pilot.registered_at ?? 0})
      and (proven = 0 or failures > 0 or offer is null or offer <> ${offer ?? ''})`,
  );
  if (!row) return;
  const nodes = JSON.stringify(nodesAfterSuccess(JSON.parse(row.nodes)));
  await db.run(sql`update pilot_settings set proven = 1, failures = 0, cool_until = 0, offer = coalesce(${offer}, offer), nodes = ${nodes}
    where site = ${pilot.site}`);
}
