/** The system's own ssh, with our settings before the user's. */
import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { PilotageError } from '../../../ground/base/errors.ts';
import { LOGIN_COMMAND } from '../command-line.ts';

export interface ClientOptions {
  readonly machine: string;
  readonly user?: string;
  /** Instead of the user's and the system's configuration. */
  readonly sshConfig?: string;
  /** For sockets, of mode 0700: made if it is not there. */
  readonly controlDirectory: string;
  readonly timeoutMs: number;
  /** The ssh program. */
  readonly ssh?: string;
}

/** How ssh is started for one machine. */
export interface Client {
  readonly program: string;
  /** What the files of this machine in the control directory are called, without their endings. */
  readonly files: string;
  /** Whose connection others can use, at this socket. */
  master(socket: string): string[];
  /** A shell over such a connection, and over that only. */
  session(socket: string): string[];
  /** Has the master of such a connection lead a port there to here. */
  forward(socket: string, what: string): string[];
  /** A shell over a connection of its own. */
  direct(): string[];
}

/** ssh listens first under the socket's name with 17 more characters; the kernel takes 103 to 107. */
const MAX_SOCKET_PATH = 103 - 17;

export function prepareClient(options: ClientOptions): Client {
  const { machine, user, controlDirectory, ssh = 'ssh' } = options;
  requireName(machine, 'machine');
  if (user !== undefined) requireName(user, 'user');
  makeDirectory(controlDirectory);
  const identity = createHash('sha256')
    .update(JSON.stringify([machine, user, options.sshConfig]))
    .digest('hex');
  const files = path.join(path.resolve(controlDirectory), `${identity.slice(0, 8)}${randomBytes(3).toString('hex')}`);
  requireSocketPath(files);
  const config = `${files}.conf`;
  const write = (): void => writeFileSync(config, configText(options), { mode: 0o600 });
  write();
  /** It lies where old files are cleaned away, and an agent lives for weeks. */
  const restore = (): void => {
    if (existsSync(config)) return;
    makeDirectory(controlDirectory);
    write();
  };
  const common = (): string[] => {
    restore();
    return ['-F', config, '-T', ...(user === undefined ? [] : ['-l', user])];
  };
  const none = ['-o', 'ControlMaster=no', '-S', 'none'];
  return {
    program: ssh,
    files,
    master: (socket) => [...common(), '-M', '-N', '-o', 'ControlPersist=no', '-S', socket, '--', machine],
    // Without a master ssh would log in by itself: the proxy that is none makes that fail.
    session: (socket) => [
      ...[...common(), '-o', 'ControlMaster=no', '-S', socket, '-o', 'ProxyCommand=/bin/false'],
      ...['--', machine, LOGIN_COMMAND],
    ],
    // Without our configuration, which clears all forwardings that users' own files may ask for.
    forward: (socket, what) => ['-F', '/dev/null', '-S', socket, '-O', 'forward', '-R', what, '--', machine],
    direct: () => [...common(), ...none, '--', machine, LOGIN_COMMAND],
  };
}

function makeDirectory(directory: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  chmodSync(directory, 0o700);
}

/** Questions go to our program only, never to a terminal, and messages are in English. */
export function clientEnvironment(
  base: Readonly<Record<string, string | undefined>>,
  askpass: string,
): Record<string, string | undefined> {
  // Before OpenSSH 8.4 a display decides whether the program is used; none is ever opened.
  const display = base.DISPLAY ?? 'none:0';
  return { ...base, LC_ALL: 'C', SSH_ASKPASS: askpass, SSH_ASKPASS_REQUIRE: 'force', DISPLAY: display };
}

/**
 * In ssh's configuration the first value counts. A file, and not the command line, because ssh hands its file on to the
 * ssh that it starts for a jump host: host keys are verified there too, and a silent host does not hang.
 */
function configText({ sshConfig, timeoutMs }: ClientOptions): string {
  const seconds = Math.max(1, Math.ceil(timeoutMs / 1000));
  const included = sshConfig === undefined ? ['~/.ssh/config', '/etc/ssh/ssh_config'] : [path.resolve(sshConfig)];
  return `StrictHostKeyChecking ask
BatchMode no
NumberOfPasswordPrompts 1
ConnectTimeout ${seconds}
ConnectionAttempts 1
ServerAliveInterval ${Math.min(15, Math.max(1, Math.floor(seconds / 3)))}
ServerAliveCountMax 3
ClearAllForwardings yes
ForwardX11 no
RequestTTY no
RemoteCommand none
PermitLocalCommand no
ForkAfterAuthentication no
StdinNull no
EscapeChar none
LogLevel INFO
ControlMaster no
ControlPath none
${included.map((file) => `Include "${file}"`).join('\n')}
`;
}

function requireName(name: string, what: string): void {
  if (/^[^-\s\p{Cc}"'`\\$;&|<>()][^\s\p{Cc}"'`\\$;&|<>()]*$/u.test(name)) return;
  throw new PilotageError('bad-request', `${JSON.stringify(name)} is no name of a ${what}: ssh would misread it`);
}

function requireSocketPath(files: string): void {
  if (/["\p{Cc}$%~]/u.test(files)) {
    throw new PilotageError(
      'bad-request',
      `'${path.dirname(files)}' holds a character that ssh reads as its own: use another directory for sockets`,
    );
  }
  if (Buffer.byteLength(files) + 4 <= MAX_SOCKET_PATH) return;
  throw new PilotageError(
    'bad-request',
    `'${path.dirname(files)}' is too long for sockets: use a directory with a shorter name`,
  );
}
