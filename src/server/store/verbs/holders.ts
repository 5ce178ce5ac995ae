import { type Db, firstRow } from '../db.ts';
import { sameHash, sha256 } from '../secrets.ts';
import { sql } from '../sql.ts';

/**
 * Who in a zone has which blob, or is just fetching it. One that asks is named the holder with the fewest others at it,
 * and becomes one that others are sent to: those who ask at the same moment make a chain, and the server is asked once.
 */
export interface SourceQuestion {
  readonly session: string;
  readonly sessionSecret: string;
  readonly projectId: number;
  readonly digest: string;
  readonly faults: readonly { readonly holder: string; readonly what: string }[];
  readonly serverOnly: boolean;
  readonly leaveOutMs: number;
}

export interface Source {
  readonly size: number;
  readonly peer: { readonly holder: string; readonly share: string; readonly complete: boolean } | null;
  readonly now: number;
}

interface HolderRow {
  readonly session_id: string;
  readonly state: 'fetching' | 'complete';
  readonly parent: string | null;
  readonly since: number;
  readonly share: string | null;
  readonly usable: number;
}

/** A fetch that takes longer than this was given up without a word. */
const LONGEST_FETCH_MS = 6 * 3_600_000;

export async function findSource(
  db: Db,
  question: SourceQuestion,
): Promise<Source | 'unknown-session' | 'unknown-blob'> {
  const { digest, session } = question;
  const worker = await firstRow<{ secret_hash: string; state: string; zone: string | null }>(
    db,
    sql`select secret_hash, state, zone from workers where session_id = ${session}`,
  );
  if (!worker || worker.state === 'ended' || !sameHash(worker.secret_hash, sha256(question.sessionSecret)))
    return 'unknown-session';
  const blob = await firstRow<{ size: number }>(
    db,
    sql`select size from blobs where project_id = ${question.projectId} and digest = ${digest}`,
  );
  if (!blob) return 'unknown-blob';
  if (worker.zone === null) return { size: blob.size, peer: null, now: db.now };
  const { zone } = worker;
  if (db.dialect === 'postgres')
    await db.rows(sql`select pg_advisory_xact_lock(hashtextextended(cast(${`${zone}/${digest}`} as text), 12))`);
  await noteFaults(db, zone, question);
  const peer = question.serverOnly ? undefined : await choosePeer(db, zone, question);
  await db.run(sql`insert into blob_holders (zone, digest, session_id, state, parent, since)
    values (${zone}, ${digest}, ${session}, 'fetching', ${peer?.session_id ?? null}, ${db.now})
    on conflict (zone, digest, session_id) do update set state = 'fetching', parent = excluded.parent, since = excluded.since`);
  return {
    size: blob.size,
    peer: peer ? { holder: peer.session_id, share: peer.share ?? '[]', complete: peer.state === 'complete' } : null,
    now: db.now,
  };
}

async function noteFaults(db: Db, zone: string, { digest, faults, leaveOutMs }: SourceQuestion): Promise<void> {
  for (const { holder, what } of faults) {
    await db.run(sql`delete from blob_holders where zone = ${zone} and digest = ${digest} and session_id = ${holder}`);
    if (what !== 'gone')
      await db.run(
        sql`update workers set left_out_until = ${db.now + leaveOutMs} where session_id = ${holder} and zone = ${zone}`,
      );
  }
}

async function choosePeer(db: Db, zone: string, question: SourceQuestion): Promise<HolderRow | undefined> {
  const rows = await db.rows<HolderRow>(sql`select h.session_id, h.state, h.parent, h.since, w.share,
      case when w.state = 'alive' and w.share is not null and w.left_out_until <= ${db.now} then 1 else 0 end as usable
    from blob_holders h join workers w on w.session_id = h.session_id where h.zone = ${zone} and h.digest = ${question.digest}
      and (h.state = 'complete' or h.since > ${db.now - LONGEST_FETCH_MS}) order by h.since`);
  const children = new Map<string, number>();
  for (const { state, parent } of rows)
    if (state === 'fetching' && parent !== null) children.set(parent, (children.get(parent) ?? 0) + 1);
  const below = descendants(rows, question.session);
  const blamed = new Set(question.faults.map(({ holder }) => holder));
  return rows
    .filter((row) => row.usable === 1 && !below.has(row.session_id) && !blamed.has(row.session_id))
    .map((row) => ({ row, load: children.get(row.session_id) ?? 0, waits: row.state === 'fetching' ? 1 : 0 }))
    .sort((a, b) => a.load - b.load || a.waits - b.waits || a.row.since - b.row.since)[0]?.row;
}

/** The one who asks, and all who get what it has: it cannot get it from them. */
function descendants(rows: readonly HolderRow[], session: string): Set<string> {
  const below = new Set([session]);
  for (let grew = true; grew; ) {
    grew = false;
    for (const { session_id: id, parent, state } of rows) {
      if (state !== 'fetching' || parent === null || !below.has(parent) || below.has(id)) continue;
      below.add(id);
      grew = true;
    }
  }
  return below;
}

/** What a worker has, and what no longer. */
export async function setHolds(
  db: Db,
  input: { session: string; sessionSecret: string; add: readonly string[]; remove: readonly string[] },
): Promise<boolean> {
  const worker = await firstRow<{ secret_hash: string; state: string; zone: string | null }>(
    db,
    sql`select secret_hash, state, zone from workers where session_id = ${input.session}`,
  );
  if (!worker || worker.state === 'ended' || !sameHash(worker.secret_hash, sha256(input.sessionSecret))) return false;
  if (worker.zone === null) return true;
  if (input.remove.length > 0) {
    const given = db.table({ m_digest: ['text', input.remove] });
    await db.run(sql`delete from blob_holders where zone = ${worker.zone} and session_id = ${input.session}
      and digest in (select m_digest from ${given} as given)`);
  }
  if (input.add.length > 0) {
    const given = db.table({ m_digest: ['text', [...new Set(input.add)].sort()] });
    await db.run(sql`insert into blob_holders (zone, digest, session_id, state, parent, since)
      select cast(${worker.zone} as text), m_digest, cast(${input.session} as text), 'complete', null, cast(${db.now} as bigint) from ${given} as given where true
      on conflict (zone, digest, session_id) do update set state = 'complete', parent = null, since = excluded.since`);
  }
  return true;
}

/** Forgets what workers held that are gone. */
export async function dropHolders(db: Db): Promise<number> {
  return db.run(
    sql`delete from blob_holders where session_id not in (select session_id from workers where state = 'alive')`,
  );
}

export async function ticketKeys(db: Db, input: { aliveWithinMs: number }): Promise<string[]> {
  const rows = await db.rows<{ ticket_key: string }>(sql`select ticket_key from servers
    where ticket_key is not null and alive_at >= ${db.now - input.aliveWithinMs}`);
  return rows.map((row) => row.ticket_key);
}
