import { execFileSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { nameOfThisProcess, RUN } from './daemon-engine.ts';
import { leaveGridEngine } from './grid-engine.ts';
import { leaveSlurm } from './slurm.ts';

const root = join(import.meta.dirname, '../..');

/** The processes that tests start run the compiled package: it is built when a source is newer. */
export function setup(): void {
  process.env[RUN] = nameOfThisProcess();
  const built = newest(join(root, 'dist'));
  if (built > newest(join(root, 'src'))) return;
  execFileSync('npm', ['run', 'build'], { cwd: root, stdio: 'inherit' });
}

/** The batch systems that test files started and shared. */
export async function teardown(): Promise<void> {
  await leaveSlurm();
  await leaveGridEngine();
}

function newest(directory: string): number {
  try {
    const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    return files.reduce((latest, file) => Math.max(latest, statSync(join(file.parentPath, file.name)).mtimeMs), 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw error;
  }
}
