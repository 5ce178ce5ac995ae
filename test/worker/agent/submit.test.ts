import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import type { SiteConfig } from '../../../src/ground/protocol/site.ts';
import { toSite } from '../../../src/ground/protocol/site.ts';
import type { JournalEntry } from '../../../src/worker/agent/journal.ts';
import { openMachine } from '../../../src/worker/agent/machine.ts';
import type { Context } from '../../../src/worker/agent/steps/context.ts';
import { submit } from '../../../src/worker/agent/steps/submit.ts';
import { batchName } from '../../../src/worker/scheduler/batch-name.ts';
import { memoryLog } from '../../support/memory-log.ts';

test('while it cannot be seen whether a job ran it is neither given up nor started again', async () => {
  const directory = mkdtempSync('/tmp/pilotage-submit-');
  // It ran and is over: only its directory tells.
  writeFileSync(path.join(directory, 'job.sh'), `echo again >>${directory}/runs\n`, { mode: 0o700 });
  writeFileSync(path.join(directory, 'runs'), 'once\n');
  const config: SiteConfig = { name: 'here', transport: 'local', scheduler: 'process', staging: 'archive' };
  const options = { environment: process.env, controlDirectory: directory, ask: async () => undefined };
  const machine = openMachine(toSite(config), 'localhost', undefined, options);
  let cut = 1;
  const transport: typeof machine.transport = {
    ...machine.transport,
    run: async (script, given = {}) => {
      const { stdout, ...rest } = given;
      if (stdout === undefined || cut === 0) return machine.transport.run(script, given);
      // The answer breaks off, and the session ends as if nothing were wrong.
      cut -= 1;
      return machine.transport.run('true', rest);
    },
  };
  const context = {
    machine: { ...machine, transport },
    log: memoryLog(),
    signal: new AbortController().signal,
    show: () => {},
    keep: async (entry: JournalEntry) => entry,
  } as unknown as Context;
  const entry: JournalEntry = {
    claim: { task: '1.1', attempt: 1, secret: 's', project: 'default' } as JournalEntry['claim'],
    spec: { command: ['true'], site: { name: 'here' } },
    name: batchName('1.1-1-aaaaaaaa'),
    phase: 'submitting',
    machine: 'localhost',
    directory,
  };
  await machine.transport.run(`mkdir ${directory}/started`);
  expect(await submit(context, entry, true)).toMatchObject({ phase: 'submitted', batchId: 'unknown' });
  expect(cut).toBe(0);
  expect(readFileSync(path.join(directory, 'runs'), 'utf8')).toBe('once\n');
  await machine.transport.close();
});
