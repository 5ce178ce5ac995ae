import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  closeSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { hashBytes, hashFile } from '../../../src/ground/content/hash-file.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { waitUntil } from '../../support/wait-until.ts';

const PIECE = 256 * 1024;

test.each([0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 1_000_003])('%i bytes have their digest', async (size) => {
  const file = path.join(temporaryDirectory(), 'file');
  const bytes = Buffer.alloc(size, 'pilotage');
  writeFileSync(file, bytes);
  expect(await hashFile(file)).toMatchObject({ size, digest: createHash('sha256').update(bytes).digest('hex') });
});

test('a file that changes once while it is read is read again', async () => {
  const file = path.join(temporaryDirectory(), 'file');
  writeSparse(file, 300_000_000);
  const hashing = hashFile(file);
  await waitUntil('the file to be read', () => isOpen(file));
  appendFileSync(file, 'more');
  const { digest, size } = await hashing;
  expect(size).toBe(300_000_004);
  expect(digest).toBe(hashBytes(readFileSync(file)).digest);
});

test('a file that goes on changing is named, with what to do', async () => {
  const file = path.join(temporaryDirectory(), 'growing');
  writeSparse(file, 100_000_000);
  const writer = spawn('sh', ['-c', 'while :; do echo x >> "$1"; echo; done', 'sh', file], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  onTestFinished(() => {
    writer.kill('SIGKILL');
  });
  await new Promise((resolve) => writer.stdout.once('data', resolve));
  writer.stdout.resume();
  await expect(hashFile(file)).rejects.toMatchObject({
    code: 'wrong-state',
    message: expect.stringContaining(`'${file}' changes while it is read`),
  });
});

function isOpen(file: string): boolean {
  return readdirSync('/proc/self/fd').some((handle) => {
    try {
      return readlinkSync(`/proc/self/fd/${handle}`) === file;
    } catch {
      return false;
    }
  });
}

function writeSparse(file: string, size: number): void {
  const handle = openSync(file, 'w');
  ftruncateSync(handle, size);
  writeSync(handle, 'end', size - 3);
  closeSync(handle);
}
