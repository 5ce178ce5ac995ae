import type { Db } from '../db.ts';
import { sql } from '../sql.ts';

/** Workers that came with tokens which are over take nothing more, also in an exchange that is under way. */
export async function stopClaims(db: Db, tokenIds: readonly number[]): Promise<void> {
  for (const tokenId of tokenIds) {
    const workers = await db.rows<{ session_id: string }>(
      sql`select session_id from workers where state = 'alive' and token_id = ${tokenId} order by session_id ${db.lock.rows}`,
    );
    for (const { session_id: session } of workers)
      await db.run(sql`update workers set projects = '[]' where session_id = ${session}`);
  }
}
