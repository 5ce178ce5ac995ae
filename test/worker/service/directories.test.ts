import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { type Directories, makeDirectories } from '../../../src/worker/service/directories.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const STATES = [
  'INCOMING',
  'PREPROCESSING',
  'RUNNING',
  'POSTPROCESSING',
  'FINALIZING',
  'COMPLETED',
  'ARCHIVED',
  'FAILED',
  'CANCELLED',
] as const;

test('a directory that cannot be made is told with its states, and where to correct it', async () => {
  const home = temporaryDirectory();
  writeFileSync(path.join(home, 'file'), '');
  const wrong = path.join(home, 'file', 'archive');
  const directories = Object.fromEntries(
    STATES.map((state) => [state, state === 'ARCHIVED' ? wrong : path.join(home, 'jobs')]),
  ) as Directories;
  await expect(makeDirectories(directories)).rejects.toThrow(
    new RegExp(`'${wrong}' \\(archived\\) is not there and cannot be made: .*correct 'directories' in service\\.yaml`),
  );
});
