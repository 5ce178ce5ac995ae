import type { Db } from '../db.ts';
import { sql } from '../sql.ts';
import { endTasks } from '../verbs/gates.ts';
import { unfinished } from '../verbs/retry-tasks.ts';

const CHUNK = 10_000;

/**
 * Makes a database that was copied one of its own: the server that it was copied from goes on, and with it workers, hosts
 * of services, pilots and mails. What was under way is cancelled here; `retry` begins it again. Returns how many tasks.
 */
export async function detachCopy(db: Db): Promise<number> {
  let cancelled = 0;
  for (const submission of await unfinished(db, { projectId: null })) cancelled += await cancelAll(db, submission);
  await db.run(sql`update submissions set claimable = 0 where claimable = 1`);
  await db.run(sql`update workers set state = 'ended', reserved_queue = null where state <> 'ended'`);
  await db.run(sql`update documents set lock_until = null where lock_until is not null`);
  await db.run(
    sql`update services set host_secret = null, host_until = 0, ended_at = coalesce(ended_at, ${db.now}), incoming = null`,
  );
  await detachJobs(db);
  await db.run(sql`update pilot_settings set paused = 1, wanted = 0`);
  await db.run(sql`update letters set state = 'given-up', ended_at = ${db.now}, last_error = 'this server is a copy of the one that sends it'
    where state = 'waiting'`);
  // The key that makes secret links is another one here, and so is who it is to neighbours.
  await db.run(sql`delete from installation where name in ('link-key', 'peer-identity')`);
  // Neighbours trust the server that it was copied from, and get results from there.
  for (const table of [sql`peers`, sql`peer_leader`, sql`borrowed`, sql`borrowed_secrets`])
    await db.run(sql`delete from ${table}`);
  await db.run(sql`delete from blob_holders`);
  await db.run(sql`delete from servers`);
  return cancelled;
}

async function cancelAll(db: Db, submission: number): Promise<number> {
  for (let all = 0; ; ) {
    const { ended } = await endTasks(db, {
      submission,
      idx: null,
      as: 'cancelled',
      limit: CHUNK,
      why: 'this server was restored as a copy',
    });
    all += ended;
    if (ended === 0) return all;
  }
}

/**
 * The directories of services' jobs belong to the host that the copied server has: here nobody knows of them, so that no
 * host of the copy moves or removes one. Without it what was under way cannot go on, as in an import.
 */
async function detachJobs(db: Db): Promise<void> {
  const underWay = sql`select j.id from jobs j join service_jobs v on v.job_id = j.id
    where j.state in ('INCOMING', 'PREPROCESSING', 'RUNNING', 'POSTPROCESSING', 'FINALIZING')`;
  await db.run(sql`update service_jobs set ended_at = ${db.now} where job_id in (${underWay})`);
  await db.run(sql`update jobs set state = 'FAILED', finished_at = ${db.now},
    reason = 'it was ' || state || ' when its server was copied, and cannot go on in the copy' where id in (${underWay})`);
  await db.run(sql`update service_jobs set intent = null, wish = null, wish_reason = null, settled = 1, active = 0,
    due_at = null, directory = null, target = null, runner = null, progress = null`);
}
