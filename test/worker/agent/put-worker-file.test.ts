import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { toSite } from '../../../src/ground/protocol/site.ts';
import { openMachine } from '../../../src/worker/agent/machine.ts';
import { putWorkerFile } from '../../../src/worker/agent/pilot/put-worker-file.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

test('what killed agents and pilots left beside the worker file goes; what is under way now stays', async () => {
  const here = temporaryDirectory({ file: 'the worker' });
  const temporary = temporaryDirectory();
  const site = toSite({ name: 'here', transport: 'local', temporaryDirectory: temporary });
  const machine = openMachine(site, 'localhost', undefined, {
    environment: process.env,
    controlDirectory: here,
    ask: async () => undefined,
  });
  onTestFinished(() => machine.transport.close());
  const digest = createHash('sha256').update('the worker').digest('hex');
  const file = { path: path.join(here, 'file'), version: '1.2.3', digest };
  const there = path.dirname(await putWorkerFile(machine, file));
  for (const [name, minutes] of Object.entries({
    'pilotage-worker.node1.17.part': 90,
    'pilotage-worker.node2.17.part': 2,
    'pilotage-worker.d': 90,
  })) {
    mkdirSync(path.join(there, name));
    writeFileSync(path.join(there, name, 'node'), '');
    utimesSync(path.join(there, name), Date.now() / 1000 - minutes * 60, Date.now() / 1000 - minutes * 60);
  }
  await putWorkerFile(machine, file);
  expect(readdirSync(there).sort()).toEqual(['pilotage-worker', 'pilotage-worker.d', 'pilotage-worker.node2.17.part']);
});
