import { type Db, firstRow } from '../db.ts';
import { sql } from '../sql.ts';

/**
 * Another server. `sent`: we asked it; `received`: it asked us; `revoked`: it ended the trust; `ending`: we did, and it
 * does not know yet. JSON: places, terms.
 */
export interface PeerRow {
  readonly id: string;
  readonly name: string;
  readonly certificate: string;
  readonly state: 'sent' | 'received' | 'trusted' | 'revoked' | 'ending';
  readonly priority: number;
  readonly places: string;
  readonly version: string | null;
  readonly terms: string;
  readonly their_terms: string | null;
  readonly since: number;
  readonly seen_at: number | null;
  readonly error: string | null;
  readonly lent_ms: number;
  readonly borrowed_ms: number;
  /** Of our worker session there; its secret is sealed. */
  readonly session: string | null;
  readonly session_secret: string | null;
}

export async function listPeers(db: Db): Promise<PeerRow[]> {
  return db.rows<PeerRow>(sql`select * from peers order by priority, since, id`);
}

export interface PeerRequest {
  readonly id: string;
  readonly name: string;
  readonly certificate: string;
  /** JSON. */
  readonly places: string;
  readonly version: string;
  /** Who asks whom. */
  readonly by: 'us' | 'them';
  /** So many requests of strangers are kept at the most. */
  readonly mostReceived: number;
}

/**
 * A request to become neighbours, of either side. Theirs proves nothing: whoever knows a certificate can send it. So it
 * changes nothing for one that we know better, and the handshake decides, where both have asked too.
 */
export async function requestPeer(
  db: Db,
  input: PeerRequest,
): Promise<{ peer: PeerRow; was: PeerRow['state'] | null } | 'too-many'> {
  const { id, by } = input;
  const known = await firstRow<PeerRow>(db, sql`select * from peers where id = ${id} ${db.lock.rows}`);
  const asked = by === 'us' ? 'sent' : 'received';
  if (!known) {
    if (by === 'them' && (await countReceived(db)) >= input.mostReceived) return 'too-many';
    await db.run(sql`insert into peers (id, name, certificate, state, priority, places, version, since, seen_at)
      values (${id}, ${await freeName(db, input.name)}, ${input.certificate}, ${asked}, 1000000, ${input.places}, ${input.version}, ${db.now}, ${db.now})
      on conflict (id) do nothing`);
    return { peer: await peerOf(db, id), was: null };
  }
  if (by === 'them' && known.state !== 'received' && known.state !== 'revoked')
    return { peer: known, was: known.state };
  const state = nextState(known.state, by);
  await db.run(sql`update peers set state = ${state}, places = ${input.places}, version = ${input.version}, seen_at = ${db.now}, error = null,
    since = ${state === known.state ? known.since : db.now}, priority = ${state === 'trusted' ? await priorityOf(db, known) : known.priority} where id = ${id}`);
  return { peer: await peerOf(db, id), was: known.state };
}

function nextState(state: PeerRow['state'], by: 'us' | 'them'): PeerRow['state'] {
  if (state === 'trusted' || by === 'them') return state === 'trusted' ? 'trusted' : 'received';
  return state === 'received' ? 'trusted' : 'sent';
}

async function countReceived(db: Db): Promise<number> {
  const row = await firstRow<{ n: number }>(db, sql`select count(*) as n from peers where state = 'received'`);
  return Number(row?.n ?? 0);
}

async function freeName(db: Db, wanted: string): Promise<string> {
  for (let i = 1; ; i += 1) {
    const name = i === 1 ? wanted : `${wanted}-${i}`;
    if (!(await firstRow(db, sql`select 1 as one from peers where name = ${name}`))) return name;
  }
}

async function peerOf(db: Db, id: string): Promise<PeerRow> {
  return (await firstRow<PeerRow>(db, sql`select * from peers where id = ${id}`)) as PeerRow;
}

/** A new neighbour comes last. */
async function priorityOf(db: Db, peer: PeerRow): Promise<number> {
  if (peer.state === 'trusted') return peer.priority;
  const row = await firstRow<{ n: number }>(db, sql`select count(*) as n from peers where state = 'trusted'`);
  return Number(row?.n ?? 0);
}

/** Only who asked can be trusted. Undefined: there is no such request (any more). */
export async function trustPeer(db: Db, input: { id: string }): Promise<PeerRow | undefined> {
  const known = await firstRow<PeerRow>(db, sql`select * from peers where id = ${input.id} ${db.lock.rows}`);
  if (known?.state !== 'received') return undefined;
  await db.run(
    sql`update peers set state = 'trusted', since = ${db.now}, error = null, priority = ${await priorityOf(db, known)} where id = ${input.id}`,
  );
  return peerOf(db, input.id);
}

/** The other side trusts us: it has proven by its certificate that it is the one that we asked. */
export async function acceptTrust(db: Db, input: { id: string }): Promise<boolean> {
  const known = await firstRow<PeerRow>(db, sql`select * from peers where id = ${input.id} ${db.lock.rows}`);
  if (known?.state !== 'sent') return known?.state === 'trusted';
  await db.run(
    sql`update peers set state = 'trusted', since = ${db.now}, error = null, priority = ${await priorityOf(db, known)} where id = ${input.id}`,
  );
  return true;
}

/**
 * The end of a trust, or of a request. `revoked`, by them: it stays in the list, so that people see it; `ending`, by us,
 * until they know. Returns what it was. What is borrowed is ended by `endBorrowed`, what was lent by `dropPeerSessions`.
 */
export async function revokePeer(
  db: Db,
  input: { id: string; as: 'revoked' | 'ending' },
): Promise<PeerRow | undefined> {
  const known = await firstRow<PeerRow>(db, sql`select * from peers where id = ${input.id} ${db.lock.rows}`);
  if (!known) return undefined;
  await db.run(
    sql`update peers set state = ${input.as}, since = ${db.now}, session = null, session_secret = null, priority = 1000000 where id = ${input.id}`,
  );
  await renumber(db, await trusted(db));
  return known;
}

/** It is known no longer, unless it is a neighbour (again). */
export async function forgetPeer(db: Db, input: { id: string }): Promise<void> {
  await db.run(sql`delete from peers where id = ${input.id} and state <> 'trusted'`);
}

async function trusted(db: Db): Promise<string[]> {
  const rows = await db.rows<{ id: string }>(
    sql`select id from peers where state = 'trusted' order by priority, since, id ${db.lock.rows}`,
  );
  return rows.map((row) => row.id);
}

/** Puts a neighbour at a place in the order; the others move up or down. False: it is not trusted. */
export async function setPeerPriority(db: Db, input: { id: string; priority: number }): Promise<boolean> {
  const order = await trusted(db);
  if (!order.includes(input.id)) return false;
  const others = order.filter((id) => id !== input.id);
  others.splice(Math.min(input.priority, others.length), 0, input.id);
  await renumber(db, others);
  return true;
}

async function renumber(db: Db, order: readonly string[]): Promise<void> {
  for (const [priority, id] of order.entries())
    await db.run(sql`update peers set priority = ${priority} where id = ${id} and priority <> ${priority}`);
}

export async function setPeerTerms(db: Db, input: { id: string; terms: string }): Promise<boolean> {
  return (await db.run(sql`update peers set terms = ${input.terms} where id = ${input.id} and state = 'trusted'`)) > 0;
}

/** What a neighbour told of itself; null is left as it stands. */
export async function notePeer(
  db: Db,
  input: { id: string; places: string | null; version: string | null; theirTerms: string | null },
): Promise<void> {
  await db.run(sql`update peers set places = coalesce(cast(${input.places} as text), places), version = coalesce(cast(${input.version} as text), version),
    their_terms = coalesce(cast(${input.theirTerms} as text), their_terms) where id = ${input.id}`);
}

/** There was contact so long ago (`error` null), or a try failed. */
export async function notePeerContact(
  db: Db,
  input: { id: string; error: string | null; silentMs: number },
): Promise<void> {
  const at = Math.round(db.now - input.silentMs);
  const seen = input.error === null ? sql`seen_at = ${at}, error = null` : sql`error = ${input.error}`;
  await db.run(sql`update peers set ${seen} where id = ${input.id}`);
}

/** Our worker session at a neighbour, kept before anything is claimed with it. The secret is sealed. */
export async function keepPeerSession(db: Db, input: { id: string; session: string; secret: string }): Promise<void> {
  await db.run(
    sql`update peers set session = ${input.session}, session_secret = ${input.secret} where id = ${input.id} and state = 'trusted'`,
  );
}

/** Of the servers of one database one keeps the links: this one, if nobody else does. */
export async function leadPeers(db: Db, input: { serverId: string; leaseMs: number }): Promise<boolean> {
  // Nobody else can have it open.
  if (db.dialect === 'sqlite') return true;
  const until = db.now + input.leaseMs;
  await db.run(sql`insert into peer_leader (one, server_id, until) values (1, ${input.serverId}, ${until})
    on conflict (one) do update set server_id = excluded.server_id, until = excluded.until
    where peer_leader.server_id = excluded.server_id or peer_leader.until < ${db.now}`);
  const row = await firstRow<{ server_id: string }>(db, sql`select server_id from peer_leader where one = 1`);
  return row?.server_id === input.serverId;
}

export async function leavePeers(db: Db, input: { serverId: string }): Promise<void> {
  await db.run(sql`delete from peer_leader where server_id = ${input.serverId}`);
}

/** How many tasks each neighbour has of ours (through its session here), and we of its. */
export async function countPeerTasks(db: Db): Promise<Array<{ peer_id: string; here: number; there: number }>> {
  const here = await db.rows<{ peer_id: string; n: number }>(
    sql`select peer_id, count(*) as n from borrowed group by peer_id`,
  );
  const there = await db.rows<{ peer_id: string; n: number }>(sql`select w.peer_id, count(*) as n from workers w
    join tasks t on t.session_id = w.session_id and t.state = 'running' where w.peer_id is not null and w.state <> 'ended' group by w.peer_id`);
  const ids = [...new Set([...here, ...there].map((row) => row.peer_id))];
  const of = (rows: readonly { peer_id: string; n: number }[], id: string) =>
    Number(rows.find((row) => row.peer_id === id)?.n ?? 0);
  return ids.map((id) => ({ peer_id: id, here: of(here, id), there: of(there, id) }));
}

/** The projects of which a neighbour has tasks of ours just now. */
export async function peerProjects(db: Db, input: { id: string }): Promise<string[]> {
  const rows = await db.rows<{ name: string }>(sql`select distinct p.name from workers w
    join tasks t on t.session_id = w.session_id and t.state = 'running' join submissions s on s.id = t.submission_id
    join projects p on p.id = s.project_id where w.peer_id = ${input.id} and w.state <> 'ended'`);
  return rows.map((row) => row.name);
}
