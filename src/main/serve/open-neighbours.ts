import type http2 from 'node:http2';
import type { FastifyInstance } from 'fastify';
import { PilotageError } from '../../ground/base/errors.ts';
import type { Place } from '../../ground/protocol/peer.ts';
import { type Federation, openFederation } from '../../server/federation/federation.ts';
import { createRelay, type Relay } from '../../server/federation/relay.ts';
import { createTrust, type Trust } from '../../server/federation/trust.ts';
import type { Parts } from '../../server/pool/parts.ts';
import { peerIdentity } from './peer-identity.ts';
import type { ServerFiles } from './server-files.ts';

export interface NeighbourOptions {
  readonly parts: Parts;
  readonly app: FastifyInstance;
  readonly data: string;
  readonly files: ServerFiles;
  readonly serverId: string;
  readonly name: string;
  readonly places: () => readonly Place[];
}

/** What deals with neighbours, once the server listens. */
interface Open {
  readonly federation: Federation;
  readonly trust: Trust;
  readonly relay: Relay;
}

export interface NeighbourDoor {
  find(): Open;
  /** Undefined until it is open. */
  readonly federation: Federation | undefined;
  open(options: NeighbourOptions): Promise<void>;
  stop(): Promise<void>;
}

export function neighbourDoor(): NeighbourDoor {
  let open: Open | undefined;
  let why = 'this server is just starting: ask again in a moment';
  return {
    find() {
      if (open) return open;
      throw new PilotageError('not-ready', why, { details: { retryAfterSeconds: 1 } });
    },
    get federation() {
      return open?.federation;
    },
    async open({ parts, app, data, files, serverId, name, places }) {
      const identity = await peerIdentity(data, files);
      const agreed = await parts.store.agreeOn({ name: 'peer-identity', value: identity.id, isNew: false });
      if (agreed !== identity.id) {
        why = `this server is another one to neighbours than the others of its database (${agreed.slice(0, 16)}…), and leaves neighbours to those: copy 'peer-key.pem' and 'peer-cert.pem' from the data directory of one of them to ${data} (mode 0600) and start it again`;
        parts.log.warn({}, why);
        return;
      }
      // The types know only the kind of connection that it listens for; it answers both.
      const answer = (request: http2.Http2ServerRequest, response: http2.Http2ServerResponse): void =>
        app.routing(request as never, response as never);
      const federation = await openFederation({ parts, identity, serverId, name, places, answer });
      const relay = createRelay(parts, identity, (peer) => federation.links.transport(peer));
      open = { federation, trust: createTrust(parts, identity, federation), relay };
    },
    async stop() {
      await open?.federation.stop();
    },
  };
}
