import { execFileSync } from 'node:child_process';
import { onTestFinished } from 'vitest';
import { temporaryDirectory } from './temporary-directory.ts';

/** A file system of its own with so much room, which goes away with the test. Takes root; under CI its lack is a failure. */
export function smallDisk(size: string, skip: (reason: string) => void): string {
  if (process.getuid?.() !== 0) {
    if (process.env.CI) throw new Error('this test mounts a small file system: it needs root');
    skip('it mounts a small file system, which takes root');
  }
  const directory = temporaryDirectory();
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', directory]);
  onTestFinished(() => {
    execFileSync('umount', ['-l', directory]);
  });
  return directory;
}
