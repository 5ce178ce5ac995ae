import { onTestFinished } from 'vitest';
import { missingNetwork, type Netlab, openNetlab } from './network-hosts.ts';

export type { NetHost, Netlab } from './network-hosts.ts';

/** Leaves the test out where network namespaces cannot be made; under CI that is a failure. */
export function skipWithoutNetwork(skip: (reason: string) => void): void {
  const reason = missingNetwork();
  if (reason === undefined) return;
  if (process.env.CI) throw new Error(`this test makes network namespaces: ${reason}`);
  skip(`it makes network namespaces: ${reason}`);
}

/** So many hosts on one bridge, gone with the test. */
export function startNetlab(count: number): Netlab {
  const net = openNetlab(count);
  onTestFinished(net.close);
  return net;
}
