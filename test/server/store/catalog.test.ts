import { describe, expect, onTestFinished, test } from 'vitest';
import { IMPORT_RULES } from '../../../src/server/store/dump/import-rules.ts';
import { NOT_EXPORTED, PROJECT_TABLES } from '../../../src/server/store/dump/project-tables.ts';
import { LEFT_OUT } from '../../../src/server/store/dump/snapshot.ts';
import type { Store } from '../../../src/server/store/store.ts';
import { openStores } from '../../support/open-stores.ts';
import { tablesOf } from '../../support/tables-of.ts';

async function dumped(store: Store): Promise<Map<string, string[]>> {
  const snapshot = await store.openSnapshot({ kind: 'all' });
  const pieces: Buffer[] = [];
  for await (const piece of snapshot.pieces()) pieces.push(piece);
  await snapshot.close();
  const heads = Buffer.concat(pieces)
    .toString()
    .split('\n')
    .filter((line) => line.startsWith('{"table"'));
  return new Map(heads.map((line) => JSON.parse(line)).map(({ table, columns }) => [table, columns]));
}

describe.each(openStores())('of the tables of %s', (_name, open) => {
  test('each is in a backup, with all its columns, or is left out for a reason', async () => {
    const opened = await open();
    onTestFinished(opened.close);
    const inBackup = await dumped(opened.store);
    for (const [table, columns] of await tablesOf(opened)) {
      if (LEFT_OUT[table] !== undefined) expect(inBackup.has(table), table).toBe(false);
      else expect(inBackup.get(table), `${table} is neither in a backup nor in LEFT_OUT`).toEqual(columns);
    }
  });

  test('each that belongs to projects is in an export, or is not exported for a reason', async () => {
    const opened = await open();
    onTestFinished(opened.close);
    const exported = new Set(PROJECT_TABLES.map(({ table }) => table));
    for (const [table, columns] of await tablesOf(opened)) {
      const isOfProjects = ['project_id', 'submission_id', 'job_id', 'service_id'].some((one) => columns.includes(one));
      if (isOfProjects)
        expect(exported.has(table) !== table in NOT_EXPORTED, `${table}: in PROJECT_TABLES or in NOT_EXPORTED`).toBe(
          true,
        );
    }
  });

  test('each column of what is imported has a rule, and each rule a column', async () => {
    const opened = await open();
    onTestFinished(opened.close);
    const tables = await tablesOf(opened);
    for (const [table, rules] of Object.entries(IMPORT_RULES))
      expect(Object.keys(rules).sort(), table).toEqual([...(tables.get(table) ?? [])].sort());
  });
});
