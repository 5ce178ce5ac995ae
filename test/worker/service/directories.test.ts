import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { type Directories, isOwn, makeDirectories } from '../../../src/worker/service/directories.ts';
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

test.each([
  ['/home/jobs/job-7-058471d9', true],
  ['/home/archive/job-7-058471d9', true],
  // Of another host: of the server that this one was copied from, say.
  ['/live/jobs/job-7-058471d9', false],
  ['/home/jobs/../../live/jobs/job-7-058471d9', false],
  ['/home/jobs/below/job-7-058471d9', false],
  ['/home/jobs/job-8-058471d9', false],
  ['/home/incoming/anything', true],
  ['/home/incoming/.anything', false],
  ['/live/incoming/anything', false],
])('%s is a directory of the job: %s', (directory, is) => {
  const directories = Object.fromEntries(
    STATES.map((state) => [
      state,
      { INCOMING: '/home/incoming', ARCHIVED: '/home/archive' }[state as string] ?? '/home/jobs',
    ]),
  ) as Directories;
  expect(isOwn(directories, { number: '7', uid: '058471d9-1' }, directory)).toBe(is);
});
