import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { putBackCheckpoint } from '../../../src/worker/runner/put-back-checkpoint.ts';
import type { Staging } from '../../../src/worker/staging/staging.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

test('a checkpoint takes the place of an input also where the program made a directory of it', async () => {
  const sandbox = temporaryDirectory({ state: 'an input', 'old/input.cpt': 'an input', other: 'stays' });
  const stage: Staging['stage'] = async (_job, files) => {
    for (const { name } of files) {
      mkdirSync(path.dirname(path.join(sandbox, name)), { recursive: true });
      writeFileSync(path.join(sandbox, name), `${name} of the checkpoint`, { flag: 'wx' });
    }
  };
  const file = (name: string) => ({ name, digest: 'a'.repeat(64), kind: 'file' as const, size: 1 });
  const checkpoint = { attempt: 1, number: 2, files: [file('state/deep/a.cpt'), file('state/b.cpt'), file('old')] };
  const job = { project: 'p', sandbox, signal: new AbortController().signal };
  expect(await putBackCheckpoint({ stage } as Staging, job, [checkpoint], () => undefined)).toBe(checkpoint);
  const read = (name: string) => readFileSync(path.join(sandbox, name), 'utf8');
  expect(['state/deep/a.cpt', 'state/b.cpt', 'old', 'other'].map(read)).toEqual([
    'state/deep/a.cpt of the checkpoint',
    'state/b.cpt of the checkpoint',
    'old of the checkpoint',
    'stays',
  ]);
});
