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
  await db.run(sql`update services set host_secret = null, host_until = 0, ended_at = coalesce(ended_at, ${db.now})`);
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
