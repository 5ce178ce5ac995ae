import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { missingSlurm, type SlurmCluster, startSlurm } from '../support/slurm.ts';
import { waitUntil } from '../support/wait-until.ts';

const root = path.resolve(import.meta.dirname, '../..');
const SCRIPT = path.join(root, 'examples/one-allocation/one-allocation.sh');

describe.skipIf(missingSlurm() !== undefined)('one allocation holds server, workers and program', () => {
  let slurm: SlurmCluster;
  let directory: string;
  beforeAll(async () => {
    slurm = await startSlurm();
    directory = mkdtempSync('/var/tmp/pilotage-allocation-test-');
    const id = (flag: string): number => Number(execFileSync('id', [flag, slurm.user], { encoding: 'utf8' }));
    chownSync(directory, id('-u'), id('-g'));
    const program = path.join(directory, 'sweep.sh');
    const text = `#!/bin/sh
"$PILOTAGE" submit --array 1-8 --wait -- sh -c 'echo square of $PILOTAGE_ARRAY_INDEX is $((PILOTAGE_ARRAY_INDEX * PILOTAGE_ARRAY_INDEX))' || exit
"$PILOTAGE" status --json >status.json
`;
    writeFileSync(program, text, { mode: 0o755 });
    chmodSync(program, 0o755);
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  const inAllocation = async (name: string): Promise<string> => {
    const words = [
      '--parsable',
      `--chdir=${directory}`,
      `--output=${directory}/${name}.log`,
      '--cpus-per-task=2',
      '--mem=1G',
      '--time=5',
    ];
    const settings = [
      'PATH=/usr/local/bin:/usr/bin:/bin',
      `PILOTAGE=${root}/bin/pilotage`,
      `PILOTAGE_NODE=${process.execPath}`,
    ];
    const as = [
      '-u',
      slurm.user,
      '--',
      'env',
      '-i',
      ...settings,
      ...Object.entries(slurm.environment).map((pair) => pair.join('=')),
    ];
    const submit = [...as, 'sbatch', ...words, SCRIPT, './sweep.sh'];
    const job = execFileSync('/usr/sbin/runuser', submit, { encoding: 'utf8', cwd: '/' }).trim();
    const show = () =>
      execFileSync('scontrol', ['-o', 'show', 'job', job], {
        encoding: 'utf8',
        env: { ...process.env, ...slurm.environment },
      });
    await waitUntil('the job to end', () => /JobState=(COMPLETED|FAILED|CANCELLED|TIMEOUT)/.test(show()), 120);
    return `${show()}\n${readFileSync(`${directory}/${name}.log`, 'utf8')}`;
  };

  test('it runs the tasks, keeps what it knows, and goes on from there the next time', async () => {
    expect(await inAllocation('first')).toContain('JobState=COMPLETED');
    const counts = () => JSON.parse(readFileSync(path.join(directory, 'status.json'), 'utf8'));
    expect(counts()).toMatchObject({ counts: { succeeded: 8 } });
    expect(existsSync(path.join(directory, 'pilotage-data/admin-token'))).toBe(true);
    expect(readdirSync(directory).filter((name) => name.startsWith('.pilotage-allocation'))).toEqual([]);
    expect(await inAllocation('second')).toContain('JobState=COMPLETED');
    expect(counts()).toMatchObject({ counts: { succeeded: 16 } });
  });
});
