import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** The client as it is published, and what it needs to run (its own list also names what only its tutorials need). */
const CLIENT = ['picas==1.1.2'];
const NEEDED = [
  'CouchDB==1.2',
  'stopit==1.1.2',
  'setuptools==80.0.0',
  'PyYAML>=6.0.2,<7',
  'requests>=2.31,<3',
  'cryptography>=41.0.4,<42',
  'jsonschema>=4.19,<5',
];

/** Python with pip, and `time`, which the client's example runs. In CI nothing is left out because something is missing. */
export function hasPython(): boolean {
  if (process.env.CI === 'true') return true;
  try {
    execFileSync('python3', ['-m', 'pip', '--version'], { stdio: 'ignore', timeout: 60_000 });
    return existsSync('/usr/bin/time');
  } catch {
    return false;
  }
}

/** A directory for PYTHONPATH with the client, installed once on a machine. Several may try at a time: one's is kept. */
export function installPicas(): string {
  const version = execFileSync('python3', ['--version'], { encoding: 'utf8' }).trim();
  const name = createHash('sha256')
    .update([version, ...CLIENT, ...NEEDED].join('\n'))
    .digest('hex')
    .slice(0, 16);
  const root = path.join(tmpdir(), 'pilotage-test-python');
  const directory = path.join(root, name);
  if (existsSync(directory)) return directory;
  mkdirSync(root, { recursive: true, mode: 0o755 });
  const fresh = mkdtempSync(path.join(root, `${name}-`));
  try {
    pip(['--target', fresh, ...NEEDED]);
    pip(['--target', fresh, '--no-deps', ...CLIENT]);
    renameSync(fresh, directory);
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true });
    // Somebody else was faster.
    if (!existsSync(directory)) throw error;
  }
  return directory;
}

function pip(words: readonly string[]): void {
  execFileSync('python3', ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...words], {
    stdio: ['ignore', 'ignore', 'inherit'],
    timeout: 280_000,
  });
}
