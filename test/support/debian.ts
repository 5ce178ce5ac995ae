import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';

/** A program that tests need from Debian: where it is looked for, and the package that brings it. */
export interface Needed {
  readonly program: string;
  readonly packages: readonly string[];
  /** What the packages' questions are answered with before they are asked, as for debconf-set-selections. */
  readonly answers?: readonly string[];
}

export const POSTGRES: Needed = {
  program: '/usr/lib/postgresql/15/bin/postgres',
  packages: ['postgresql-15', 'postgresql-client-15'],
};
export const GROMACS: Needed = { program: '/usr/bin/gmx', packages: ['gromacs'] };
export const PYMOL_DATA: Needed = { program: '/usr/share/pymol/data/tut/1hpv.pdb', packages: ['pymol-data'] };
export const SYSTEMD: Needed = { program: '/usr/bin/systemd-analyze', packages: ['systemd'] };
export const STRACE: Needed = { program: '/usr/bin/strace', packages: ['strace'] };
export const CHROMIUM: Needed = { program: '/usr/bin/chromium', packages: ['chromium'] };
export const FAKETIME: Needed = { program: '/usr/bin/faketime', packages: ['faketime'] };

/**
 * Says why a test cannot run here, or undefined when it can. What is missing is installed when that is possible (root,
 * apt-get); under CI what is still missing is a failure.
 */
export function missing(needed: Needed): string | undefined {
  if (existsSync(needed.program)) return undefined;
  const tried = install(needed);
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

function install({ packages, answers = [] }: Needed): string {
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get'))
    return 'not root, or no apt-get: not installed by itself';
  // Debian's PostgreSQL package would start a cluster of its own; and no package is to start a daemon here.
  const script = `set -e
    export DEBIAN_FRONTEND=noninteractive
    if [ ! -e /usr/sbin/policy-rc.d ]; then
      trap 'rm -f /usr/sbin/policy-rc.d' EXIT
      printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d
    fi
    [ -z "$ANSWERS" ] || printf '%s\\n' "$ANSWERS" | debconf-set-selections
    mkdir -p /etc/postgresql-common; [ -e /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf
    get() { apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"; }
    get ${packages.join(' ')} || { apt-get update -q && get ${packages.join(' ')}; }`;
  try {
    // One at a time: test files run side by side.
    const env = { ...process.env, ANSWERS: answers.join('\n') };
    execFileSync('flock', ['/run/lock/pilotage-packages', 'sh', '-c', script], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env,
    });
    return '';
  } catch (error) {
    return String((error as { stderr?: Buffer }).stderr ?? error).slice(-400);
  }
}
