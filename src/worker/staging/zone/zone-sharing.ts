/** What a worker of a zone has beside its cache: a server for the others, and what it tells the server of the pool. */
import { isIP } from 'node:net';
import { messageOf } from '../../../ground/base/errors.ts';
import type { Log } from '../../../ground/base/log.ts';
import type { Client } from '../../../ground/client/client.ts';
import type { NodeCache } from '../cache/node-cache.ts';
import { SHARED_BYTES } from './fetch-in-zone.ts';
import { createHoldings, type Holdings } from './holdings.ts';
import { ownAddressTowards, toShareUrl } from './own-address.ts';
import type { PeerPatience } from './peer-download.ts';
import { type ListenAt, startShareServer } from './share-server.ts';
import { createTicketJudge, type ZoneSession } from './tickets.ts';

export interface ZoneOptions {
  readonly client: Client;
  readonly cache: NodeCache;
  readonly log: Log;
  readonly serverUrl: string;
  /** Where to listen; all addresses and any free port unless given. */
  readonly listen?: ListenAt;
  /** Where the others reach it, when that is not the address from which it speaks to the server: a host or host:port. */
  readonly address?: string;
  readonly patience?: PeerPatience;
}

export interface ZoneSharing {
  readonly holdings: Holdings;
  readonly patience?: PeerPatience;
  /** For the registration. Undefined while no way to the server is known. */
  addresses(): string[] | undefined;
  /** The worker has a new session: what is in the cache is told to the server. */
  welcome(session: ZoneSession): void;
  close(): Promise<void>;
}

const MOST_TOLD = 10_000;

/** Rejects when it cannot listen. */
export async function shareInZone(options: ZoneOptions): Promise<ZoneSharing> {
  const { client, cache, log, listen = { port: 0 } } = options;
  let session: ZoneSession | undefined;
  const holdings = createHoldings(client, () => session, log);
  const judge = createTicketJudge(client);
  const server = await startShareServer({ cache, judge, log, listen, session: () => session });
  let address = await findAddress(options);
  cache.onChange(({ added, removed }) => {
    holdings.tell({ added: added && added.size >= SHARED_BYTES ? [added.digest] : [], removed });
  });

  const tellAll = async (): Promise<void> => {
    const added = await cache.newest(SHARED_BYTES, MOST_TOLD);
    if (added.length > 0) holdings.tell({ added });
  };
  return {
    holdings,
    ...(options.patience ? { patience: options.patience } : {}),
    addresses: () => {
      // The network may come later than the worker, or change: looked up again for the next registration.
      void findAddress(options).then((found) => {
        address = found ?? address;
      });
      return address === undefined ? undefined : [address.includes('://') ? address : toShareUrl(address, server.port)];
    },
    welcome: (welcomed) => {
      session = welcomed;
      tellAll().catch((error) => log.warn({ error: messageOf(error) }, 'what the cache holds could not be listed'));
    },
    close: async () => {
      holdings.close();
      await server.close();
    },
  };
}

async function findAddress({ address, listen, serverUrl }: ZoneOptions): Promise<string | undefined> {
  if (address !== undefined) return hasPort(address) ? `http://${address}` : address;
  if (listen?.host !== undefined && !isEverywhere(listen.host)) return listen.host;
  return ownAddressTowards(serverUrl);
}

function hasPort(address: string): boolean {
  return isIP(address) === 0 && /:\d+$/.test(address);
}

function isEverywhere(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}
