/** What a server does by itself, again and again, must not look at all the tasks that it ever had. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Db } from '../../../../src/server/store/db.ts';
import type { Sql } from '../../../../src/server/store/sql.ts';
import { openSqlite } from '../../../../src/server/store/sqlite/open-sqlite.ts';
import { connect, type SqliteConnection } from '../../../../src/server/store/sqlite/sqlite-db.ts';
import { runVerb, type VerbName } from '../../../../src/server/store/store.ts';

const directory = mkdtempSync(join(tmpdir(), 'pilotage-plans-'));
let connection: SqliteConnection;
beforeAll(async () => {
  const store = await openSqlite(directory);
  await store.createProject({ name: 'p', owner: 'ada' });
  await store.close();
  connection = connect(join(directory, 'pilotage.db'), { readOnly: false, sequence: 0 });
});
afterAll(() => {
  connection.close();
  rmSync(directory, { recursive: true });
});

/** Tables that grow with every task, document and job that there ever was. */
const LARGE = ['tasks', 'submissions', 'attempts', 'logs', 'documents', 'blob_uses', 'audit'];

/** Carries a verb out, and gives the steps in which SQLite goes through the whole of a large table. */
async function scansOf(verb: VerbName, input: unknown): Promise<string[]> {
  const found: string[] = [];
  const look = ({ texts, values }: Sql): void => {
    const text = texts.join('?');
    const plan = connection.raw.prepare(`explain query plan ${text}`).all(...(values as string[])) as {
      detail: string;
    }[];
    const names = namesOf(text);
    for (const { detail } of plan) {
      const name = /^SCAN (\w+)(?! USING (COVERING )?INDEX)/.exec(detail)?.[1];
      if (name !== undefined && LARGE.includes(names.get(name) ?? name)) found.push(`${detail}: ${text}`);
    }
  };
  const db: Db = {
    ...connection.db,
    now: 1_800_000_000_000,
    rows: (statement) => {
      look(statement);
      return connection.db.rows(statement);
    },
    run: (statement) => {
      look(statement);
      return connection.db.run(statement);
    },
  };
  await runVerb(db, verb, input);
  return found;
}

/** What each short name in a statement stands for. */
function namesOf(text: string): Map<string, string> {
  const pairs = [...text.matchAll(/\b(?:from|join|update)\s+(\w+)(?:\s+as)?\s+(\w+)/g)];
  return new Map(pairs.map(([, table, short]) => [short as string, table as string]));
}

const REGULAR: readonly (readonly [VerbName, unknown])[] = [
  ['foldCounts', { halfLifeMs: 86_400_000 }],
  ['rescueExpired', undefined],
  ['rescueTokens', { maxScrubs: 3 }],
  ['releaseDue', undefined],
  ['anyClaimable', undefined],
  ['removeChunk', { olderThanMs: 3_600_000 }],
  ['balancePilots', { fresh: 'x' }],
  ['tellSilentHosts', { silentMs: 60_000 }],
  ['findSupply', undefined],
  ['findDemand', undefined],
  ['borrowedLoad', undefined],
  ['borrowedLeftovers', undefined],
  ['borrowedProgress', { peerId: 'x' }],
  ['endedBorrowed', { peerId: 'x' }],
  ['endedSince', { peerId: 'x', after: -1, most: 500 }],
  ['giveBackBorrowed', { peerId: null, olderMs: 5000 }],
  ['giveBackBorrowed', { peerId: 'x', olderMs: 0 }],
  ['countPeerTasks', undefined],
  ['peerProjects', { id: 'x' }],
  ['leadPeers', { serverId: 'x', leaseMs: 10_000 }],
];

describe('never goes through all tasks', () => {
  test.for(REGULAR)('%s %j', async ([verb, input]) => {
    expect(await scansOf(verb, input)).toEqual([]);
  });
});

test('a whole look is noticed where there is one', async () => {
  connection.raw.exec('drop index tasks_sequence');
  expect(await scansOf('endedSince', { peerId: 'x', after: -1, most: 500 })).toHaveLength(1);
});
