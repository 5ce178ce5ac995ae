import type { Db } from '../db.ts';
import { sql } from '../sql.ts';
import { type HostKey, renewHost } from './services.ts';
import { noticeHost } from './write-notices.ts';

/** The host ends; why, if it was not as planned. How many letters have to go for that; null: it is not the host any more. */
export async function leaveService(db: Db, key: HostKey & { reason: string | null }): Promise<number | null> {
  const row = await renewHost(db, { ...key, leaseMs: 0 });
  if (!row) return null;
  await db.run(sql`update services set host_secret = null, host_until = 0, ended_at = ${db.now}, end_reason = ${key.reason}
    where id = ${row.id}`);
  return key.reason === null ? 0 : noticeHost(db, row, key.reason);
}
