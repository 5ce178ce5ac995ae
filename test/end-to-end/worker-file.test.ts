import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeWorkerFile, type WorkerFile } from '../../src/main/worker-file/make-worker-file.ts';
import { adminToken } from '../support/api.ts';
import { startServer } from '../support/running-server.ts';

const isRoot = process.getuid?.() === 0;
/** Not below what is hidden. */
const place = mkdtempSync('/var/tmp/pilotage-worker-file-');
let made: WorkerFile;
let program: string;

beforeAll(async () => {
  made = await makeWorkerFile(path.join(place, 'made'));
  program = copyOf('pilotage-worker');
});
afterAll(() => rmSync(place, { recursive: true, force: true }));

function copyOf(name: string): string {
  const copy = path.join(place, name);
  copyFileSync(made.path, copy);
  chmodSync(copy, 0o700);
  return copy;
}

/** A mount namespace in which neither this checkout nor any Node.js is to be seen. */
function runBare(words: readonly string[]) {
  const checkout = path.resolve(import.meta.dirname, '../..');
  const packages = path.dirname(
    path.dirname(execFileSync('readlink', ['-f', path.join(checkout, 'node_modules')], { encoding: 'utf8' }).trim()),
  );
  const script = `set -e
cd /
for hidden in "$1" "$2" /tmp /root; do [ ! -d "$hidden" ] || mount -t tmpfs none "$hidden"; done
for node in /usr/bin/node /usr/bin/nodejs /usr/local/bin/node; do [ ! -e $node ] || mount --bind /dev/null $node; done
if node --version 2>/dev/null; then echo 'there is a node' >&2; exit 99; fi
shift 2
exec "$@"`;
  const ran = spawnSync('unshare', ['-m', 'sh', '-c', script, 'sh', checkout, packages, ...words], {
    encoding: 'utf8',
    env: { PATH: '/usr/local/bin:/usr/bin:/bin', HOME: place },
  });
  return { code: ran.status, stdout: ran.stdout, stderr: ran.stderr };
}

describe.skipIf(!isRoot)('the worker file', () => {
  test('works where there is neither Node.js nor Pilotage: a worker registers, runs tasks and leaves', async () => {
    await using server = await startServer();
    const { id } = await server.json<{ id: number }>([
      'submit',
      '--array',
      '1-5',
      '--',
      'sh',
      '-c',
      'echo $PILOTAGE_ARRAY_INDEX',
    ]);
    const token = path.join(place, 'token');
    writeFileSync(token, adminToken(server), { mode: 0o600 });
    const flags = [
      '--server',
      server.url(),
      '--token-file',
      token,
      '--slots',
      '2',
      '--until-idle',
      '2s',
      '--cache',
      path.join(place, 'work'),
    ];
    const ran = runBare([program, 'worker', ...flags]);
    expect(ran.stderr).not.toMatch(/"level":50/);
    expect(ran.code).toBe(0);
    expect(await server.json(['status'])).toMatchObject({ counts: { succeeded: 5 } });
    expect((await server.run(['logs', `${id}.3`])).stdout).toBe('3\n');
  });

  test('has every other command that a cluster may want, and says which it has not', () => {
    for (const command of ['submit', 'status', 'tasks', 'logs', 'results', 'cache', 'pilots', 'job', 'site', 'agent'])
      expect(runBare([program, command, '--help'])).toMatchObject({ code: 0, stderr: '' });
    expect(runBare([program, 'serve', '--data', place]).stderr).toContain("a worker file has no 'serve'");
  });

  test('is unpacked once, also when many start at once', () => {
    const many = copyOf('many');
    const ran = runBare(['sh', '-c', `for i in 1 2 3 4; do "${many}" --version & done; wait`]);
    expect(ran.stdout.trim().split('\n')).toHaveLength(4);
    expect(
      readdirSync(place)
        .filter((name) => name.startsWith('many'))
        .sort(),
    ).toEqual(['many', 'many.d']);
  });

  test('that is cut short says so, and leaves nothing half unpacked', () => {
    const cut = copyOf('cut');
    truncateSync(cut, 1_000_000);
    const ran = runBare([cut, '--version']);
    expect(ran.code).toBe(126);
    expect(ran.stderr).toContain('could not unpack itself');
    expect(readdirSync(place).filter((name) => name.startsWith('cut'))).toEqual(['cut']);
  });

  test('on a machine of another kind says for which it was made', () => {
    const directory = path.join(place, 'other-kind');
    execFileSync('mkdir', [directory]);
    writeFileSync(path.join(directory, 'uname'), '#!/bin/sh\necho aarch64\n', { mode: 0o755 });
    const other = copyOf('other');
    const ran = spawnSync(other, ['--version'], { encoding: 'utf8', env: { PATH: `${directory}:/usr/bin:/bin` } });
    expect(ran.status).toBe(126);
    expect(ran.stderr).toMatch(/is for Linux .*, and this machine is aarch64/);
    expect(existsSync(`${other}.d`)).toBe(false);
  });
});

test('it is made once, and is the same for the same version', async () => {
  const again = await makeWorkerFile(path.join(place, 'made'));
  expect(again).toEqual(made);
  expect((await makeWorkerFile(path.join(place, 'elsewhere'))).digest).toBe(made.digest);
});
