import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openSpool } from '../../../src/ground/claimant/spool.ts';
import type { Report } from '../../../src/ground/protocol/exchange.ts';
import { memoryLog } from '../../support/memory-log.ts';
import { waitUntil } from '../../support/wait-until.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'pilotage-spool-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const report = (index: number): Report => ({
  task: `1.${index}`,
  attempt: 1,
  secret: 's',
  outcome: 'succeeded',
  exitCode: 0,
});
const files = (): string[] => readdirSync(directory).filter((name) => name.endsWith('.json'));
const log = memoryLog();

test('what was kept is found by the next one to open the spool', async () => {
  const spool = await openSpool(directory, log);
  await Promise.all([spool.keep(report(1)), spool.keep(report(2))]);
  const next = await openSpool(directory, log);
  expect(next.found).toEqual([report(1), report(2)]);
});

test('reports that come together share a file, which goes when the last of them was answered', async () => {
  const spool = await openSpool(directory, log);
  await Promise.all(Array.from({ length: 1000 }, (_, index) => spool.keep(report(index))));
  expect(files().length).toBeLessThanOrEqual(2);
  for (let index = 0; index < 999; index += 1) spool.forget(report(index));
  expect(files().length).toBeGreaterThan(0);
  spool.forget(report(999));
  await waitUntil('an empty spool', () => files().length === 0);
});

test('a report that was answered before the disk had it is not written, and its keeper is told', async () => {
  const spool = await openSpool(directory, log);
  const kept = spool.keep(report(1));
  spool.forget(report(1));
  await kept;
  expect(files()).toEqual([]);
});

test('a report that is answered while it is written does not stay', async () => {
  const spool = await openSpool(directory, log);
  const kept = spool.keep(report(1));
  await Promise.resolve();
  spool.forget(report(1));
  await kept;
  await waitUntil('an empty spool', () => files().length === 0);
  expect((await openSpool(directory, log)).found).toEqual([]);
});

test.each([
  ['cut off', '[{"task":"1.1","atte'],
  ['something else', '[{"colour":"blue"}]'],
  ['empty', ''],
])('a damaged file (%s) is put aside with a word in the log, and the others are found', async (_name, text) => {
  const spool = await openSpool(directory, log);
  await spool.keep(report(7));
  writeFileSync(path.join(directory, '1.json'), text);
  const next = await openSpool(directory, log);
  expect(next.found).toEqual([report(7)]);
  expect(readdirSync(path.join(directory, 'damaged'))).toEqual(['1.json']);
  expect(log.lines.at(-1)).toMatchObject({ level: 'error' });
});
