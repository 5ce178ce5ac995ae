import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, ftruncateSync, openSync, statSync, writeSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const PROCESS = fileURLToPath(new URL('../../support/transfer-process.ts', import.meta.url));
const GIB = 2 ** 30;

test('a file of 1 GiB goes both ways in less than 200 MB of memory on either side', async () => {
  const directory = temporaryDirectory();
  const [file, back] = [path.join(directory, 'large'), path.join(directory, 'back')];
  const handle = openSync(file, 'w');
  ftruncateSync(handle, GIB);
  writeSync(handle, 'not all of it is zero', GIB / 2);
  closeSync(handle);
  const server = start('serve', path.join(directory, 'blobs'));
  const { url } = await told<{ url: string }>(server);
  const up = await told<{ digest: string; peakMb: number }>(start('up', url, file));
  const down = await told<{ digest: string; peakMb: number }>(start('down', url, up.digest, back));
  server.kill('SIGTERM');
  const { peakMb } = await told<{ peakMb: number }>(server);
  expect(down.digest).toBe(up.digest);
  expect(statSync(back).size).toBe(GIB);
  for (const peak of [up.peakMb, down.peakMb, peakMb]) expect(peak).toBeLessThan(200);
}, 120_000);

function start(...args: string[]): ChildProcess {
  const child = spawn(process.execPath, [PROCESS, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  return child;
}

/** The next line that the process writes. */
async function told<T>(child: ChildProcess): Promise<T> {
  const [line] = (await once(child.stdout as NonNullable<ChildProcess['stdout']>, 'data')) as [Buffer];
  return JSON.parse(line.toString());
}
