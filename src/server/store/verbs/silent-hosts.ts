import type { Db } from '../db.ts';
import { EMPTY, sql } from '../sql.ts';
import { SERVICE, type ServiceRow } from './services.ts';
import { noticeHost } from './write-notices.ts';

/**
 * Tells of hosts that did not say that they end, and whose lease has been over for so long: once for each session.
 * Returns how many letters have to go.
 */
export async function tellSilentHosts(db: Db, input: { silentMs: number }): Promise<number> {
  const lock = db.dialect === 'postgres' ? sql`for update of s` : EMPTY;
  const silent = await db.rows<ServiceRow>(
    sql`${SERVICE(db)} where s.host_secret is not null and s.host_until < ${db.now - input.silentMs} and s.told_host < s.host_number
      order by s.id ${lock}`,
  );
  let told = 0;
  for (const service of silent) {
    await db.run(sql`update services set told_host = host_number where id = ${service.id}`);
    const minutes = Math.round((db.now - service.host_until) / 60_000);
    told += await noticeHost(
      db,
      service,
      `nothing was heard of it for ${Math.max(1, minutes)} min: it was killed, or its machine or the network is down`,
    );
  }
  return told;
}
