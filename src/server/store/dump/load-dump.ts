import { PilotageError } from '../../../ground/base/errors.ts';
import type { Db } from '../db.ts';
import { NEWEST_VERSION } from '../migrations.ts';
import { sql } from '../sql.ts';
import { columnsOf, listTables, numberedTables } from './catalog.ts';
import { detachCopy } from './detach-copy.ts';
import type { DumpEvent } from './read-dump.ts';
import { type DumpHead, LEFT_OUT, type Row } from './snapshot.ts';

/** An empty database, in one transaction that whoever opened it commits or undoes. */
export interface LoadTarget {
  readonly db: Db;
  /** Brings the schema from one version to another. */
  migrate(from: number, to: number): Promise<void>;
  insert(table: string, columns: readonly string[], rows: readonly Row[]): Promise<void>;
  /** The last number of a table that numbers its rows. */
  setLastId(table: string, last: number): Promise<void>;
  setSequence(last: number): Promise<void>;
}

/**
 * `same`: it is the server that was, which is gone for good. Workers come back to it, and go on.
 * `new`: it is a copy beside it. Nothing that was under way goes on here by itself: it would run twice.
 */
export type Identity = 'same' | 'new';

export interface LoadWish {
  readonly identity: Identity;
  /** Files whose bytes are not there. */
  readonly lost: readonly string[];
  /** The secrets come with it: the administrator's token of the server that was goes on. */
  readonly hasSecrets: boolean;
}

export interface Loaded {
  readonly rows: number;
  /** Of a copy: unfinished tasks, which are cancelled there. */
  readonly cancelled: number;
}

/**
 * What was acknowledged after the backup is lost, its numbers are not forgotten: people have them in their notes,
 * workers in their spools. Nothing new may get one of them, or a result would count for another task.
 */
const SKIPPED_IDS = 1_000_000;
const SKIPPED_CHANGES = 1_000_000_000;

/** Fills an empty database from a dump of the same or an older schema. */
export async function loadDump(
  target: LoadTarget,
  events: AsyncIterable<DumpEvent>,
  { identity, lost, hasSecrets }: LoadWish,
): Promise<Loaded> {
  const { db } = target;
  let head: DumpHead | undefined;
  let known = new Map<string, Set<string>>();
  let rows = 0;
  for await (const event of events) {
    if (event.kind === 'files') continue;
    if (event.kind === 'head') {
      head = event.head;
      await target.migrate(0, head.schema);
      known = await catalog(db);
      continue;
    }
    requireKnown(known, event.table, event.columns);
    await target.insert(event.table, event.columns, event.rows);
    rows += event.rows.length;
  }
  if (!head) throw new PilotageError('bad-request', 'the copy of the database is empty');
  await target.migrate(head.schema, NEWEST_VERSION);
  await setNumbers(target, head, identity);
  // What the server took for lost may have come with the backup all the same.
  await db.run(sql`update blobs set gone = 0 where gone = 1`);
  for (const digest of lost) await db.run(sql`update blobs set gone = 1 where digest = ${digest}`);
  const cancelled = identity === 'new' ? await detachCopy(db) : 0;
  // Who has the old server's data directory is no administrator here by that.
  if (!hasSecrets)
    await db.run(sql`update tokens set revoked_at = coalesce(revoked_at, ${db.now}) where kind = 'admin'`);
  return { rows, cancelled };
}

async function catalog(db: Db): Promise<Map<string, Set<string>>> {
  const tables = (await listTables(db)).filter((table) => !(table in LEFT_OUT));
  const known = new Map<string, Set<string>>();
  for (const table of tables) known.set(table, new Set(await columnsOf(db, table)));
  return known;
}

function requireKnown(known: ReadonlyMap<string, Set<string>>, table: string, columns: readonly string[]): void {
  const of = known.get(table);
  const unknown = of ? columns.find((column) => !of.has(column)) : '';
  if (unknown === undefined) return;
  const what = unknown === '' ? `table '${table}'` : `column '${unknown}' of '${table}'`;
  throw new PilotageError('bad-request', `the copy of the database has a ${what}, which its version does not know`);
}

async function setNumbers(target: LoadTarget, head: DumpHead, identity: Identity): Promise<void> {
  // Also of tables that had no row yet: the first ones were given after the backup.
  const skip = identity === 'same' ? SKIPPED_IDS : 0;
  for (const table of await numberedTables(target.db)) {
    const last = (head.ids[table] ?? 0) + skip;
    if (last > 0) await target.setLastId(table, last);
  }
  await target.setSequence(head.sequence + (identity === 'same' ? SKIPPED_CHANGES : 0));
}
