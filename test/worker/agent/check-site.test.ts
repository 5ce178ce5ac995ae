import { chmodSync, existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { type SiteConfig, toSite } from '../../../src/ground/protocol/site.ts';
import type { CheckName, SiteCheck } from '../../../src/ground/protocol/site-check.ts';
import { checkSite } from '../../../src/worker/agent/check-site.ts';
import { smallDisk } from '../../support/small-disk.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const here = { transport: 'local', scheduler: 'process', staging: 'archive' } as const;

async function check(config: Partial<SiteConfig>, path_ = process.env.PATH): Promise<SiteCheck> {
  const site = toSite({ name: 'here', ...here, ...config });
  return checkSite(site, {
    environment: { ...process.env, PATH: path_ },
    controlDirectory: temporaryDirectory(),
    ask: async () => undefined,
  });
}

function item({ machines: [machine] }: SiteCheck, check: CheckName) {
  return machine?.checks.find((one) => one.check === check);
}

/** A PATH with all of this machine's programs but some, and some of our own. */
function programsWithout(names: readonly string[], own: Readonly<Record<string, string>> = {}): string {
  const directory = temporaryDirectory();
  for (const from of ['/bin', '/usr/bin'])
    for (const name of readdirSync(from))
      if (!names.includes(name) && !(name in own) && !existsSync(path.join(directory, name)))
        symlinkSync(path.join(from, name), path.join(directory, name));
  for (const [name, text] of Object.entries(own)) writeFileSync(path.join(directory, name), text, { mode: 0o755 });
  return directory;
}

test('a machine that is fit passes, and its temporary directory is made as a job would', async () => {
  const root = temporaryDirectory();
  const found = await check({ temporaryDirectory: `${root}/$USER/new`, programDirectory: '/usr/bin' });
  expect(found.ok).toBe(true);
  const [machine] = found.machines;
  expect(machine?.checks.filter(({ outcome }) => !['passed', 'skipped'].includes(outcome))).toEqual([]);
  expect(machine).toMatchObject({ machine: 'localhost', clockSeconds: 0, freeBytes: expect.any(Number) });
  expect(item(found, 'temporary-directory')?.detail).toMatch(/new \(made\), writable, .* free/);
  expect(readdirSync(path.join(root, String(machine?.user), 'new'))).toEqual([]);
});

test('a program directory that is not there is told', async () => {
  const found = await check({ programDirectory: '/nowhere/$USER' });
  expect(found.ok).toBe(false);
  expect(item(found, 'program-directory')).toMatchObject({
    outcome: 'failed',
    detail: expect.stringContaining("'/nowhere/$USER'"),
    advice: expect.stringContaining('programDirectory'),
  });
});

test('a temporary directory that cannot be made is told', async () => {
  const found = await check({ temporaryDirectory: '/proc/nowhere' });
  expect(item(found, 'temporary-directory')).toMatchObject({
    outcome: 'failed',
    advice: expect.stringContaining('temporaryDirectory'),
  });
});

test('a full disk is told, though it takes names still', async ({ skip }) => {
  const disk = smallDisk('64k', skip);
  try {
    writeFileSync(path.join(disk, 'large'), Buffer.alloc(1024 * 1024));
  } catch {
    // Full, as it should be.
  }
  const found = await check({ temporaryDirectory: disk });
  expect(item(found, 'temporary-directory')).toMatchObject({ outcome: 'failed' });
  expect(found.machines[0]?.freeBytes).toBe(0);
  expect(readdirSync(disk)).toEqual(['large']);
});

test('little room is a warning, and not a failure', async ({ skip }) => {
  const found = await check({ temporaryDirectory: smallDisk('20m', skip) });
  expect(item(found, 'temporary-directory')?.outcome).toBe('warned');
  expect(found.ok).toBe(true);
});

test('nothing to pack with is told', async () => {
  const found = await check({}, programsWithout(['zip', 'unzip', 'bsdtar', 'tar', 'python3']));
  expect(item(found, 'archive')).toMatchObject({ outcome: 'failed', detail: expect.stringContaining('install zip') });
});

test('where files are shared neither packing nor a temporary directory is asked for', async () => {
  const found = await check({ staging: 'shared', temporaryDirectory: '/proc/nowhere' });
  expect(item(found, 'archive')?.outcome).toBe('skipped');
  expect(item(found, 'temporary-directory')?.outcome).toBe('skipped');
  expect(found.ok).toBe(true);
});

test.each([
  ['slurm', 'sbatch'],
  ['grid-engine', 'qsub'],
] as const)('%s without its commands is told', async (scheduler, command) => {
  const commands = ['sbatch', 'squeue', 'scancel', 'scontrol', 'sacct', 'qsub', 'qstat', 'qdel', 'qacct'];
  const found = await check({ scheduler }, programsWithout(commands));
  expect(item(found, 'scheduler')).toMatchObject({
    outcome: 'failed',
    detail: expect.stringContaining(command),
    advice: expect.any(String),
  });
});

test('a clock that is wrong is a warning with the difference', async () => {
  const late = programsWithout([], { date: '#!/bin/sh\nexec /bin/date -d "-90 seconds" "$@"\n' });
  const found = await check({}, late);
  expect(item(found, 'clock')).toMatchObject({ outcome: 'warned', detail: expect.stringContaining('behind') });
  expect(Math.abs((found.machines[0]?.clockSeconds ?? 0) + 90)).toBeLessThanOrEqual(1);
});

test('a name that a shell would run is only a name', async () => {
  const root = temporaryDirectory();
  const name = `${root}/$(touch ${root}/ran) 'a" \`touch ${root}/ran\`\n;touch ${root}/ran`;
  mkdirSync(name, { recursive: true });
  chmodSync(name, 0o755);
  const found = await check({ programDirectory: name, temporaryDirectory: name });
  expect(item(found, 'program-directory')?.outcome).toBe('passed');
  expect(item(found, 'temporary-directory')?.detail).toContain(name);
  expect(found.machines[0]?.freeBytes).toBeGreaterThan(0);
  expect(existsSync(path.join(root, 'ran'))).toBe(false);
});
