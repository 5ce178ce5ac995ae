import selfsigned from 'selfsigned';
import { createIdentity, type Identity } from '../../src/server/federation/identity.ts';

/** Of a server that nobody knows. */
export async function newIdentity(notAfterDate = new Date('2999-01-01')): Promise<Identity> {
  const made = await selfsigned.generate([{ name: 'commonName', value: 'pilotage' }], { keyType: 'ec', notAfterDate });
  return createIdentity(made.cert, made.private);
}
