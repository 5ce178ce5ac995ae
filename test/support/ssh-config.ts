import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { SshServer } from './ssh-server.ts';

export interface ClientConfigOptions {
  readonly alias?: string;
  /** The key that is offered; none: a password or a code is asked for. */
  readonly key?: 'plain' | 'locked' | 'stranger' | 'none';
  /** Another way to the server: a proxy, or no known one. */
  readonly port?: number;
  /** What known_hosts holds for the server: its key, nothing, or this one (a `.pub` file's text). */
  readonly known?: 'right' | 'none' | { readonly key: string };
  readonly lines?: readonly string[];
}

/** One host of an ssh configuration, and what is known of its key. */
export interface HostEntry {
  readonly config: string;
  readonly known: string;
}

export function hostEntry(server: SshServer, options: ClientConfigOptions = {}): HostEntry {
  const { alias = 'site', key = 'plain', port = server.port, known = 'right', lines = [] } = options;
  const identity = key === 'none' ? 'none' : path.join(server.directory, 'client', `id_${key}`);
  const config = [
    `Host ${alias}`,
    `HostName ${server.address}`,
    `Port ${port}`,
    `User ${server.user}`,
    `IdentityFile "${identity}"`,
    'IdentitiesOnly yes',
    'IdentityAgent none',
    ...(key === 'none' ? ['PubkeyAuthentication no'] : []),
    ...lines,
  ];
  const text = known === 'right' ? readFileSync(path.join(server.directory, 'host_key.pub'), 'utf8') : '';
  const keyText = typeof known === 'object' ? known.key : text;
  const name = `[${server.address}]:${port}`;
  return { config: `${config.join('\n')}\n`, known: keyText === '' ? '' : `${name} ${keyText.trim()}\n` };
}

/** Writes `config` and `known_hosts` into the directory and gives the configuration's name: ~/.ssh is never looked at. */
export function writeClientConfig(directory: string, entries: readonly HostEntry[]): string {
  mkdirSync(directory, { recursive: true });
  const known = path.join(directory, 'known_hosts');
  writeFileSync(known, entries.map((entry) => entry.known).join(''));
  const file = path.join(directory, 'config');
  const common = `Host *\nUserKnownHostsFile "${known}"\nGlobalKnownHostsFile /dev/null\n`;
  writeFileSync(file, entries.map((entry) => entry.config).join('') + common);
  return file;
}

/** For one server. */
export function clientConfig(server: SshServer, directory: string, options: ClientConfigOptions = {}): string {
  return writeClientConfig(directory, [hostEntry(server, options)]);
}
