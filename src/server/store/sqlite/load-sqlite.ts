import { join } from 'node:path';
import { named } from '../dump/catalog.ts';
import { type Loaded, type LoadTarget, type LoadWish, loadDump } from '../dump/load-dump.ts';
import type { DumpEvent } from '../dump/read-dump.ts';
import type { Row } from '../dump/snapshot.ts';
import { migrationsAfter, NEWEST_VERSION } from '../migrations.ts';
import { connect, type SqliteConnection } from './sqlite-db.ts';

/** Makes the database of a data directory from a dump. The file must not be there; it is whole when this resolves, and of no use if it rejects. */
export async function loadSqlite(directory: string, events: AsyncIterable<DumpEvent>, wish: LoadWish): Promise<Loaded> {
  const connection = connect(join(directory, 'pilotage.db'), { readOnly: false, sequence: 0 });
  const { raw } = connection;
  try {
    connection.setNow(Date.now());
    raw.exec('pragma journal_mode = wal; pragma synchronous = full; begin immediate');
    const loaded = await loadDump(targetOf(connection), events, wish);
    raw.exec(`pragma user_version = ${NEWEST_VERSION}; commit; pragma wal_checkpoint(truncate)`);
    return loaded;
  } finally {
    connection.close();
  }
}

function targetOf({ raw, db }: SqliteConnection): LoadTarget {
  return {
    db,
    async migrate(from, to) {
      for (const text of migrationsAfter(from, 'sqlite', to)) raw.exec(text);
    },
    async insert(table, columns, rows) {
      const places = columns.map(() => '?').join(', ');
      const statement = raw.prepare(
        `insert into ${named(table).texts[0]} (${named(...columns).texts[0]}) values (${places})`,
      );
      for (const row of rows) statement.run(...(row as Row as (string | number | null)[]));
    },
    async setLastId(table, last) {
      const { changes } = raw.prepare('update sqlite_sequence set seq = ? where name = ?').run(last, table);
      if (changes === 0) raw.prepare('insert into sqlite_sequence (name, seq) values (?, ?)').run(table, last);
    },
    async setSequence(last) {
      const kept = JSON.stringify({ now: db.now, sequence: last });
      raw.prepare("insert into meta (key, value) values ('kept', ?)").run(kept);
    },
  };
}
