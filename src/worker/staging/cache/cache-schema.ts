/**
 * What the processes of a node tell each other about its cache. The files are the truth; this is rebuilt from them.
 * `fetching`: one process downloads a blob, the others wait for it. `pins`: what must not be evicted, because an attempt
 * (`use`) is being staged from it. Times of `fetching` go by the machine's monotonic clock, the others by the wall clock.
 */
export const SCHEMA = `
  create table if not exists owners (
    id integer primary key autoincrement, host text not null, boot text not null, space text not null, pid integer not null,
    start_time text not null, seen_at integer not null, unique (boot, space, pid, start_time)
  );
  create table if not exists entries (
    digest text primary key, size integer not null, used_at integer not null
  ) without rowid;
  create index if not exists entries_by_use on entries (used_at);
  create table if not exists fetching (
    digest text primary key, owner integer not null, token text not null, size integer not null default 0,
    seen_at integer not null
  ) without rowid;
  create table if not exists pins (
    use text not null, owner integer not null, digest text not null, primary key (use, owner, digest)
  ) without rowid;
  create index if not exists pins_by_digest on pins (digest);
  create table if not exists facts (name text primary key, value integer not null) without rowid;
  insert or ignore into facts (name, value) values ('bytes', 0);
  create trigger if not exists entry_added after insert on entries
    begin update facts set value = value + new.size where name = 'bytes'; end;
  create trigger if not exists entry_removed after delete on entries
    begin update facts set value = value - old.size where name = 'bytes'; end;
`;

/** Raised with each change of the schema: another version keeps an index of its own beside this one. */
export const SCHEMA_VERSION = 1;

const STATEMENTS = {
  findOwner: 'select id from owners where boot = ? and space = ? and pid = ? and start_time = ?',
  addOwner: 'insert into owners (host, boot, space, pid, start_time, seen_at) values (?, ?, ?, ?, ?, ?)',
  seeOwner: 'update owners set seen_at = ? where id = ?',
  owners: 'select id, host, boot, space, pid, start_time as startTime, seen_at as seenAt from owners',
  dropOwner: 'delete from owners where id = ?',
  dropOwnersPins: 'delete from pins where owner = ?',
  dropOwnersFetching: 'delete from fetching where owner = ?',

  entry: 'select size from entries where digest = ?',
  entries: 'select digest, size, used_at as usedAt from entries order by used_at desc',
  putEntry: 'insert into entries (digest, size, used_at) values (?, ?, ?)',
  dropEntry: 'delete from entries where digest = ?',
  use: 'update entries set used_at = ? where digest = ?',
  evictable:
    'select digest, size from entries where digest not in (select digest from pins) order by used_at limit 100',
  pinnedEntries:
    'select count(*) as blobs, coalesce(sum(size), 0) as bytes from entries where digest in (select digest from pins)',
  countEntries: 'select count(*) as blobs from entries',

  fetching: 'select owner, token, seen_at as seenAt from fetching where digest = ?',
  allFetching: 'select digest, owner, size from fetching',
  claim: 'insert or replace into fetching (digest, owner, token, seen_at) values (?, ?, ?, ?)',
  expect: 'update fetching set size = ? where digest = ? and token = ?',
  stillFetching: 'update fetching set seen_at = ? where digest = ? and token = ?',
  endFetch: 'delete from fetching where digest = ? and token = ?',
  arrivingBytes: 'select coalesce(sum(size), 0) as value from fetching',

  pin: 'insert or ignore into pins (use, owner, digest) values (?, ?, ?)',
  unpin: 'delete from pins where use = ? and owner = ?',
  usesOf: 'select owner, count(distinct use) as uses, count(distinct digest) as blobs from pins group by owner',
  pinned: 'select distinct digest from pins',

  fact: 'select value from facts where name = ?',
  setFact: 'insert or replace into facts (name, value) values (?, ?)',
} as const;

type Value = string | number;
type Row = Readonly<Record<string, unknown>>;

/** The statements of the index, each prepared at its first use. */
export interface Statements {
  run(name: keyof typeof STATEMENTS, ...values: Value[]): void;
  find<T extends object = Row>(name: keyof typeof STATEMENTS, ...values: Value[]): T | undefined;
  all<T extends object = Row>(name: keyof typeof STATEMENTS, ...values: Value[]): T[];
}

interface Prepared {
  run(...values: Value[]): unknown;
  get(...values: Value[]): unknown;
  all(...values: Value[]): unknown[];
}

export function prepareStatements(db: { prepare(text: string): Prepared }): Statements {
  const prepared = new Map<string, Prepared>();
  const of = (name: keyof typeof STATEMENTS): Prepared => {
    const statement = prepared.get(name) ?? db.prepare(STATEMENTS[name]);
    prepared.set(name, statement);
    return statement;
  };
  return {
    run: (name, ...values) => void of(name).run(...values),
    find: <T>(name: keyof typeof STATEMENTS, ...values: Value[]) => of(name).get(...values) as T | undefined,
    all: <T>(name: keyof typeof STATEMENTS, ...values: Value[]) => of(name).all(...values) as T[],
  };
}
