import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';

/** A program that tests need from Debian: where it is looked for, and the package that brings it. */
export interface Needed {
  readonly program: string;
  readonly packages: readonly string[];
}

export const POSTGRES: Needed = {
  program: '/usr/lib/postgresql/15/bin/postgres',
  packages: ['postgresql-15', 'postgresql-client-15'],
};
export const GROMACS: Needed = { program: '/usr/bin/gmx', packages: ['gromacs'] };
export const STRACE: Needed = { program: '/usr/bin/strace', packages: ['strace'] };
export const FAKETIME: Needed = { program: '/usr/bin/faketime', packages: ['faketime'] };

/**
 * Says why a test cannot run here, or undefined when it can. What is missing is installed when that is possible (root,
 * apt-get); under CI what is still missing is a failure.
 */
export function missing(needed: Needed): string | undefined {
  if (existsSync(needed.program)) return undefined;
  const tried = install(needed.packages);
  if (existsSync(needed.program)) return undefined;
  const message = `${needed.program} is missing: apt-get install ${needed.packages.join(' ')}${tried ? ` (${tried})` : ''}`;
  if (process.env.CI) throw new Error(message);
  process.stderr.write(`left out: ${message}\n`);
  return message;
}

/** For the test that needs it: runs, or is left out with the reason. */
export function skipIfMissing(skip: (reason: string) => void, needed: Needed): void {
  const reason = missing(needed);
  if (reason) skip(reason);
}

function install(packages: readonly string[]): string {
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get'))
    return 'not root, or no apt-get: not installed by itself';
  // Debian's PostgreSQL package would start a cluster of its own; and no package is to start a daemon here.
  const script = `set -e
    export DEBIAN_FRONTEND=noninteractive
    mkdir -p /etc/postgresql-common; [ -e /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf
    get() { apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"; }
    get ${packages.join(' ')} || { apt-get update -q && get ${packages.join(' ')}; }`;
  try {
    execFileSync('sh', ['-c', script], { stdio: ['ignore', 'ignore', 'pipe'] });
    return '';
  } catch (error) {
    return String((error as { stderr?: Buffer }).stderr ?? error).slice(-400);
  }
}
