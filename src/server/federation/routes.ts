import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import { PilotageError } from '../../ground/base/errors.ts';
import { linkRoutes, peerRoutes } from '../../ground/protocol/peer-routes.ts';
import type { Principal } from '../access/principal.ts';
import { registerRoutes } from '../web/register-routes.ts';
import type { Federation } from './federation.ts';
import { LINK_PROTOCOL } from './link/dial.ts';
import type { Trust } from './trust.ts';

/** Where a server listens for neighbours unless it says otherwise: as for everybody. */
export const USUAL_PORT = 9990;

/** What may be off: a server whose identity is another one than that of its database has no neighbours. */
export type Door = () => { readonly federation: Federation; readonly trust: Trust };

/** The calls of administrators, and those that come over links. */
export function registerFederation(app: FastifyInstance, door: Door): void {
  registerRoutes(app, peerRoutes, {
    peers: async ({ who }) => door().trust.list(who),
    peer: async ({ who, params }) => door().trust.show(who, params.peer),
    connectPeer: async ({ who, body }) => door().trust.connect(who, { host: body.host, port: body.port ?? USUAL_PORT }),
    trustPeer: async ({ who, params }) => door().trust.trust(who, params.peer),
    revokePeer: async ({ who, params }) => door().trust.revoke(who, params.peer),
    setPeerPriority: async ({ who, params, body }) => door().trust.setPriority(who, params.peer, body.priority),
    setPeerTerms: async ({ who, params, body }) => door().trust.setTerms(who, params.peer, body),
    pingPeer: async ({ who, params }) => door().trust.ping(who, params.peer),
    introduce: async ({ body, request }) => door().trust.introduce(body, request.ip),
  });
  registerRoutes(
    app,
    linkRoutes,
    {
      news: async ({ who, body }) => {
        await door().federation.hear(peerOf(who), body);
        return {};
      },
      ping: async ({ who, body }) => ({ path: await door().trust.passOn(peerOf(who), body.to, body.path) }),
      farewell: async ({ who }) => {
        const { federation } = door();
        const peer = peerOf(who);
        // Answered first: the link goes with the trust.
        setImmediate(() => void federation.partFrom(peer));
        return {};
      },
    },
    { forNeighbours: Object.keys(linkRoutes) },
  );
  app.server.on('upgrade', upgradeToLink(door));
}

/** Somebody dials as a neighbour: who it is shows itself in the handshake. */
export function upgradeToLink(door: Door) {
  return (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    if (request.headers.upgrade !== LINK_PROTOCOL) {
      socket.destroy();
      return;
    }
    socket.on('error', () => undefined);
    const open = isOpen(door);
    if (!open) {
      socket.end('HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n');
      return;
    }
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${LINK_PROTOCOL}\r\n\r\n`);
    if (head.length > 0) socket.unshift(head);
    open.federation.accept(socket);
  };
}

function isOpen(door: Door): ReturnType<Door> | undefined {
  try {
    return door();
  } catch {
    return undefined;
  }
}

function peerOf(who: Principal): string {
  if (who.peer) return who.peer.id;
  throw new PilotageError('forbidden', 'this is asked over the links of neighbours only');
}
