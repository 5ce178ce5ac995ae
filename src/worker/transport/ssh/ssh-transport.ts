import { rmSync } from 'node:fs';
import type { Transport } from '../transport.ts';
import { transportOver } from '../transport-over.ts';
import { type ClientOptions, prepareClient } from './client.ts';
import { type DialOptions, openDialer } from './dial.ts';
import { multiplexed } from './multiplexed.ts';
import { oneByOne } from './one-by-one.ts';

export interface SshOptions extends ClientOptions, DialOptions {
  /** What ssh sees: HOME, PATH, SSH_AUTH_SOCK and so on. Our own settings go before. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** All commands as sessions of one connection, unless told otherwise: on Windows ssh cannot. */
  readonly multiplex?: boolean;
}

/** A machine that the system's ssh reaches; keys, agents, jump hosts and the user's configuration are its business. */
export function sshTransport(options: SshOptions): Transport {
  const { machine, tries, environment } = options;
  const client = prepareClient(options);
  const dialer = openDialer(client.files, options);
  const connecting = { machine, tries, client, dialer, environment };
  const reach = (options.multiplex ?? true) ? multiplexed(connecting) : oneByOne(connecting);
  const close = async (): Promise<void> => {
    await reach.close();
    rmSync(`${client.files}.conf`, { force: true });
  };
  return transportOver({ machine, tries, reach: { ...reach, close } });
}
