import dgram from 'node:dgram';
import { isIPv6 } from 'node:net';

const PATIENCE_MS = 3000;

/**
 * From which address this machine speaks to a server: where others on the same network reach it. Sends nothing: the
 * system only chooses the way. 127.0.0.1 when the server is on this machine; undefined when there is no way to it now.
 */
export async function ownAddressTowards(url: string): Promise<string | undefined> {
  const { hostname, port, protocol } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, '');
  const usual = protocol === 'https:' ? 443 : 80;
  const socket = dgram.createSocket({ type: isIPv6(host) ? 'udp6' : 'udp4' });
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const timer = setTimeout(() => resolve(undefined), PATIENCE_MS);
  socket.once('error', () => resolve(undefined));
  socket.connect(port === '' ? usual : Number(port), host, () => resolve(socket.address().address));
  const address = await promise;
  clearTimeout(timer);
  socket.close();
  return address !== undefined && isLoopback(address) ? '127.0.0.1' : address;
}

function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.');
}

/** As part of a URL. */
export function toShareUrl(host: string, port: number): string {
  return `http://${isIPv6(host) ? `[${host}]` : host}:${port}`;
}
