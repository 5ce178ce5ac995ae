/**
 * Real SSH servers, each a machine of its own as far as files and processes go: private /home and /tmp, process numbers
 * that begin at 1. What a test left there is gone with it. Takes root.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { missing } from './debian.ts';
import { freePort } from './free-port.ts';
import { makeHostKey, makeUser } from './ssh-accounts.ts';
import { isAlive, processesIn, read, signal, startMachine } from './ssh-machine.ts';
import { waitUntil } from './wait-until.ts';

export interface SshServerOptions {
  /** The login shell of the user: /bin/bash unless told. */
  readonly shell?: string;
  /** Lines for its configuration; the first of a name counts, also against ours. */
  readonly config?: readonly string[];
  /** Printed before the login. */
  readonly banner?: string;
  /** What PAM asks for at each login by keyboard-interactive; without one there is no PAM. */
  readonly code?: string;
  /** `exec` and `address` of a host of the netlab: the server is reached there only. */
  readonly host?: { readonly exec: readonly string[]; readonly address: string };
}

export interface SshServer {
  readonly address: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly passphrase: string;
  /** Of its host key: `SHA256:…`. */
  readonly fingerprint: string;
  /** Of the user, on the server. */
  readonly home: string;
  /** With keys and configuration. */
  readonly directory: string;
  /** Where a file of the server (in /home or /tmp) is seen from here. */
  seen(name: string): string;
  log(): string;
  /** How many logins it let in. */
  logins(): number;
  /** How many processes of that command line (as `ps` prints it) run there. */
  running(command: string): number;
  /** The machine is there, the server and all connections are not. What sessions started lives on. */
  kill(): Promise<void>;
  /** After `kill`. */
  restart(): Promise<void>;
  /** Answers nothing any more, but ends no connection. */
  pause(): void;
  resume(): void;
  stop(): Promise<void>;
}

export const SSHD = {
  program: '/usr/sbin/sshd',
  packages: ['openssh-server', 'openssh-sftp-server', 'openssh-client'],
};
export const TCSH = { program: '/usr/bin/tcsh', packages: ['tcsh'] };
export const FISH = { program: '/usr/bin/fish', packages: ['fish'] };
const UNSHARE = { program: '/usr/bin/unshare', packages: ['util-linux'] };

/** Why there can be no servers here, or undefined. */
export function missingSshd(): string | undefined {
  if (process.getuid?.() !== 0) return 'it starts SSH servers, which takes root';
  return [SSHD, UNSHARE].map(missing).find(Boolean);
}

/** Leaves the test out where there can be no servers; under CI that is a failure. */
export function skipWithoutSshd(skip: (reason: string) => void): void {
  const reason = missingSshd();
  if (reason === undefined) return;
  if (process.env.CI) throw new Error(reason);
  skip(reason);
}

export async function startSshServer(options: SshServerOptions = {}): Promise<SshServer> {
  // Not under /tmp, which is another one there.
  const directory = mkdtempSync('/var/tmp/pilotage-sshd-');
  chmodSync(directory, 0o755);
  const account = makeUser(options.shell ?? '/bin/bash');
  const port = await freePort();
  const address = options.host?.address ?? '127.0.0.1';
  const fingerprint = makeHostKey(directory);
  prepare(directory, account, options);
  writeFileSync(
    path.join(directory, 'sshd_config'),
    configText(directory, { port, address, user: account.user }, options),
  );
  const machine = await startMachine(directory, options);
  const inside = (): number[] => processesIn(machine.pid);
  const sshds = (): number[] => inside().filter((pid) => /sshd/.test(read(`/proc/${pid}/comm`)));
  const log = (): string => read(path.join(directory, 'log'));

  let entered: ChildProcess | undefined;
  // It stops itself when what it started is stopped, and would then leave its end unseen.
  const wakeEntered = (): void => {
    if (entered?.pid !== undefined) signal(entered.pid, 'SIGCONT');
  };
  const start = async (): Promise<void> => {
    const program = path.join(directory, 'pilotage-sshd');
    const args = ['-D', '-E', path.join(directory, 'log'), '-f', path.join(directory, 'sshd_config')];
    const started = spawn('nsenter', ['-t', String(machine.pid), '-m', '-p', '-n', '--', program, ...args], {
      stdio: ['ignore', 'ignore', 'inherit'],
      detached: true,
    });
    started.unref();
    entered = started;
    await waitUntil('the SSH server answers', () => greets(address, port, options), 20).catch((error) => {
      throw new Error(`${error.message}\n${log()}`);
    });
  };
  const end = async (pids: readonly number[]): Promise<void> => {
    for (const pid of pids) signal(pid, 'SIGKILL');
    wakeEntered();
    await waitUntil('its processes are gone', () => pids.every((pid) => !isAlive(pid)));
  };
  await start();
  return {
    ...account,
    address,
    port,
    fingerprint,
    directory,
    seen: (name) => (/^\/(home|tmp)(\/|$)/.test(name) ? path.join(directory, name) : name),
    log,
    logins: () => log().match(/^Accepted \S+ for /gm)?.length ?? 0,
    running: (command) =>
      inside().filter((pid) => read(`/proc/${pid}/cmdline`).replace(/\0$/, '').replaceAll('\0', ' ') === command)
        .length,
    kill: () => end(sshds()),
    restart: start,
    pause: () => {
      for (const pid of sshds()) signal(pid, 'SIGSTOP');
    },
    resume: () => {
      wakeEntered();
      for (const pid of sshds()) signal(pid, 'SIGCONT');
    },
    stop: async () => {
      await end(inside());
      await machine.ended;
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** The files of the machine: an empty home, an empty /tmp, and PAM of its own where it is asked for. */
function prepare(directory: string, { home, user }: { home: string; user: string }, options: SshServerOptions): void {
  mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
  mkdirSync(path.join(directory, home), { recursive: true });
  execFileSync('chown', ['-R', `${user}:`, path.join(directory, home)]);
  mkdirSync(path.join(directory, 'tmp'));
  chmodSync(path.join(directory, 'tmp'), 0o1777);
  // PAM knows a server by the name of its program.
  symlinkSync(SSHD.program, path.join(directory, 'pilotage-sshd'));
  if (options.banner !== undefined) writeFileSync(path.join(directory, 'banner'), options.banner);
  if (options.code === undefined) return;
  const check = path.join(directory, 'check-code');
  writeFileSync(path.join(directory, 'code'), options.code, { mode: 0o600 });
  writeFileSync(check, `#!/bin/sh\nread -r given\n[ "$given" = "$(cat '${directory}/code')" ]\n`, { mode: 0o755 });
  cpSync('/etc/pam.d', path.join(directory, 'pam.d'), { recursive: true });
  writeFileSync(
    path.join(directory, 'pam.d', 'pilotage-sshd'),
    `auth optional pam_echo.so Enter the one-time code from your device.\nauth required pam_exec.so expose_authtok quiet ${check}\nauth required pam_permit.so\naccount required pam_permit.so\nsession required pam_permit.so\n`,
  );
}

function configText(
  directory: string,
  { port, address, user }: { port: number; address: string; user: string },
  { config = [], banner, code }: SshServerOptions,
): string {
  const withCode = code !== undefined;
  return `${config.join('\n')}
Port ${port}
ListenAddress ${address}
PidFile none
HostKey ${directory}/host_key
AuthorizedKeysFile ${directory}/client/authorized_keys
StrictModes no
AllowUsers ${user}
PubkeyAuthentication yes
PasswordAuthentication ${withCode ? 'no' : 'yes'}
KbdInteractiveAuthentication ${withCode ? 'yes' : 'no'}
UsePAM ${withCode ? 'yes' : 'no'}
${withCode ? 'AuthenticationMethods keyboard-interactive' : ''}
${banner === undefined ? '' : `Banner ${directory}/banner`}
${takesOption('PerSourcePenalties=no') ? 'PerSourcePenalties no' : ''}
UseDNS no
PrintMotd no
PrintLastLog no
LoginGraceTime 20
MaxStartups 100:30:200
AcceptEnv LANG LC_*
LogLevel VERBOSE
Subsystem sftp internal-sftp
`;
}

/** Newer servers shut out who fails often; older ones do not know the word. */
function takesOption(option: string): boolean {
  try {
    execFileSync(SSHD.program, ['-t', '-f', '/dev/null', '-h', '/dev/null', '-o', option], { stdio: 'pipe' });
    return true;
  } catch (error) {
    return !/Bad configuration option/.test(String((error as { stderr?: Buffer }).stderr));
  }
}

/** From inside its network where it has one: the way there may be cut. */
async function greets(address: string, port: number, { host }: SshServerOptions): Promise<boolean> {
  if (host) {
    const script = `exec 3<>/dev/tcp/${address}/${port}; read -r -t 2 line <&3; [[ $line = SSH-* ]]`;
    return succeeds(host.exec[0] as string, [...host.exec.slice(1), 'bash', '-c', script]);
  }
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect(port, address);
  socket.once('data', (data) => resolve(data.toString().startsWith('SSH-')));
  socket.once('error', () => resolve(false));
  socket.once('close', () => resolve(false));
  return promise.finally(() => socket.destroy());
}

function succeeds(program: string, args: readonly string[]): boolean {
  try {
    execFileSync(program, args, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
