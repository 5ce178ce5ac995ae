import { readFileSync } from 'node:fs';
import path from 'node:path';
import { onTestFinished } from 'vitest';
import { type Client, createClient } from '../../src/ground/client/client.ts';
import { createIdentity, type Identity } from '../../src/server/federation/identity.ts';
import { dial } from '../../src/server/federation/link/dial.ts';
import { createLink } from '../../src/server/federation/link/link.ts';
import { readVerdict, shakeHands } from '../../src/server/federation/link/shake-hands.ts';
import type { PeerServer } from './peer-servers.ts';

export const identityOf = ({ data }: PeerServer): Identity =>
  createIdentity(
    readFileSync(path.join(data, 'peer-cert.pem'), 'utf8'),
    readFileSync(path.join(data, 'peer-key.pem'), 'utf8'),
  );

/** Somebody with the identity of a server that is down, who says to another one what no server would. */
export async function linkAs(identity: Identity, to: PeerServer): Promise<Client> {
  const raw = await dial({ host: to.address(), port: to.port() }, new AbortController().signal);
  const { id, socket } = await shakeHands(raw, 'dialler', identity);
  const verdict = await readVerdict(socket);
  if (verdict !== 'welcome') throw new Error(`${to.name} says ${verdict}`);
  const link = createLink({
    peer: id,
    socket,
    isDialled: true,
    answer: (_request, response) => void response.writeHead(503).end(),
    onSession: () => undefined,
  });
  onTestFinished(link.close);
  return createClient({ send: link.send, close: link.close }, () => undefined);
}
