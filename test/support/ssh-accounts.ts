/** Who logs in on the SSH servers of the tests, and with which keys. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

export interface Account {
  readonly user: string;
  readonly home: string;
  readonly password: string;
  readonly passphrase: string;
}

const PASSWORD = 'site-secret $(id) \'"1';
const PASSPHRASE = 'key-secret-1 "x"';

/** An ordinary user with that login shell: `pilotage-site` for bash, else with the shell's name behind it. Stays. */
export function makeUser(shell: string): Account {
  const name = path.basename(shell);
  const user = name === 'bash' ? 'pilotage-site' : `pilotage-site-${name}`;
  const home = `/home/${user}`;
  // Test files run side by side, and useradd does not wait for another.
  const script = `id -u "$1" >/dev/null 2>&1 || useradd -M -d "$2" -s "$3" "$1"
printf '%s:%s\\n' "$1" "$4" | chpasswd`;
  execFileSync('flock', ['/run/lock/pilotage-users', 'sh', '-ec', script, 'sh', user, home, shell, PASSWORD], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  return { user, home, password: PASSWORD, passphrase: PASSPHRASE };
}

/** Makes a host key, and in `client` the keys that are let in: `id_plain`, and `id_locked` with the passphrase. */
export function makeHostKey(directory: string): string {
  const client = path.join(directory, 'client');
  mkdirSync(client);
  makeKey(path.join(directory, 'host_key'), '');
  makeKey(path.join(client, 'id_plain'), '');
  makeKey(path.join(client, 'id_locked'), PASSPHRASE);
  makeKey(path.join(client, 'id_stranger'), '');
  const accepted = ['id_plain.pub', 'id_locked.pub'].map((file) => readFileSync(path.join(client, file), 'utf8'));
  writeFileSync(path.join(client, 'authorized_keys'), accepted.join(''));
  return fingerprintOf(path.join(directory, 'host_key.pub'));
}

export function makeKey(file: string, passphrase: string): void {
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', passphrase, '-C', path.basename(file), '-f', file]);
}

export function fingerprintOf(publicKey: string): string {
  return execFileSync('ssh-keygen', ['-lf', publicKey], { encoding: 'utf8' }).split(' ')[1] as string;
}
