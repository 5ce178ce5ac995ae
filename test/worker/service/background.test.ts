import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { startInBackground } from '../../../src/worker/service/background.ts';
import { isAlive } from '../../support/processes.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { waitUntil } from '../../support/wait-until.ts';

test('a host that never gets ready is ended, not left behind as one that is stopped and runs', async () => {
  const home = temporaryDirectory();
  const pidFile = path.join(home, 'pid');
  const program = `require('fs').writeFileSync(${JSON.stringify(pidFile)}, String(process.pid)); for (;;);`;
  const state = await startInBackground(home, [process.execPath, '-e', program], 2);
  expect(state).toMatchObject({ state: 'failed', reason: expect.stringContaining('was ended') });
  const pid = Number(readFileSync(pidFile, 'utf8'));
  await waitUntil('its process is gone', () => !isAlive(pid));
});
