/** The bare work that a task costs: a sandbox directory, two output files, a clean environment, spawn, wait. `floor-spawner.mjs DIRECTORY COUNT`. Plain JavaScript: what strips types would make it larger, and spawning from a large process is slow. */
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';

const [directory = '', count = '0'] = process.argv.slice(2);
let begun = 0;

function next() {
  if (begun >= Number(count)) return;
  begun += 1;
  const home = join(directory, String(begun));
  const sandbox = join(home, 'sandbox');
  mkdirSync(sandbox, { recursive: true });
  const stdout = openSync(join(home, 'stdout'), 'w');
  const stderr = openSync(join(home, 'stderr'), 'w');
  const child = spawn('/bin/true', [], {
    cwd: sandbox,
    env: { PATH: '/usr/bin:/bin' },
    stdio: ['ignore', stdout, stderr],
    detached: true,
  });
  closeSync(stdout);
  closeSync(stderr);
  child.once('exit', next);
}
next();
