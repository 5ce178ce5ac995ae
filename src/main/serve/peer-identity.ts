import { chmodSync, existsSync, readFileSync } from 'node:fs';
import { hostname, networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { messageOf, PilotageError } from '../../ground/base/errors.ts';
import type { Place } from '../../ground/protocol/peer.ts';
import { createIdentity, type Identity } from '../../server/federation/identity.ts';
import type { ServerFiles } from './server-files.ts';

/** A certificate that expired could not be renewed: its fingerprint is who the server is. */
const END = new Date('9999-12-31T23:59:59Z');

/** Who this server is towards neighbours: made at the first start, and kept in the data directory. */
export async function peerIdentity(data: string, files: ServerFiles): Promise<Identity> {
  const keyFile = join(data, 'peer-key.pem');
  const certificateFile = join(data, 'peer-cert.pem');
  if (!existsSync(keyFile) && !existsSync(certificateFile)) {
    const { default: selfsigned } = await import('selfsigned');
    const made = await selfsigned.generate([{ name: 'commonName', value: 'pilotage' }], {
      keyType: 'ec',
      notAfterDate: END,
    });
    files.keepSecret(keyFile, made.private);
    files.keepOpen(certificateFile, made.cert);
  }
  try {
    chmodSync(keyFile, 0o600);
    return createIdentity(readFileSync(certificateFile, 'utf8'), readFileSync(keyFile, 'utf8'));
  } catch (error) {
    throw new PilotageError(
      'storage-failed',
      `the identity of this server cannot be read (${messageOf(error)}): ${keyFile} and ${certificateFile} belong together. Put them back from a backup; or remove both, and the server begins as another one that no neighbour knows`,
      { cause: error },
    );
  }
}

/** How neighbours call it unless told otherwise. */
export function usualName(): string {
  const name = (hostname().split('.')[0] ?? '').replace(/[^A-Za-z0-9_-]/g, '-').slice(0, 60);
  return /^[A-Za-z0-9_]/.test(name) ? name : 'pilotage';
}

const MOST_ADDRESSES = 4;

/** Where neighbours may find it: its name, and the addresses of the machine, as far as it listens there. */
export function placesOf(listensAt: string, port: number): Place[] {
  if (listensAt !== '0.0.0.0' && listensAt !== '::') return [{ host: bare(listensAt), port }];
  const addresses = Object.values(networkInterfaces())
    .flat()
    .filter((one) => one !== undefined)
    .filter(({ internal, address }) => !internal && !address.startsWith('fe80:'))
    .map(({ address }) => address);
  return [...addresses.slice(0, MOST_ADDRESSES), hostname()].map((host) => ({ host, port }));
}

function bare(host: string): string {
  return host.replace(/^\[|\]$/g, '');
}
