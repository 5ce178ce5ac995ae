import type { FastifyInstance } from 'fastify';
import type { ServeOptions } from '../../face/cli/context.ts';
import { PilotageError, systemCode } from '../../ground/base/errors.ts';
import type { Log } from '../../ground/base/log.ts';
import type { Access } from '../../server/access/access.ts';
import { registerCouchdb } from '../../server/couchdb/face.ts';
import type { House } from '../../server/couchdb/house.ts';
import { createListener } from '../../server/web/listener.ts';
import type { Certificate } from './certificate.ts';
import { isLoopback } from './listen.ts';
import { portHolder } from './port-holder.ts';

interface Wish {
  readonly options: ServeOptions;
  readonly access: Access;
  readonly log: Log;
  readonly house: House;
  /** Of the server's own listener, if it has one. */
  readonly certificate: Certificate | null;
}

export interface CouchdbPorts {
  readonly urls: readonly string[];
  close(): Promise<void>;
}

export function refuseOpenCouchdb({ couchdbListen, insecure }: ServeOptions): void {
  if (!couchdbListen || isLoopback(couchdbListen.host) || insecure) return;
  throw new PilotageError(
    'bad-request',
    `listening on ${couchdbListen.host}:${couchdbListen.port} would send passwords over the network in the clear: use --couchdb-tls-listen, or say --insecure if the network itself is safe`,
  );
}

/** The ports of their own that clients of CouchDB expect: the face stands at the root there. */
export async function openCouchdbPorts(wish: Wish): Promise<CouchdbPorts> {
  const { couchdbListen: plain, couchdbTlsListen: secure, data } = wish.options;
  const opened: FastifyInstance[] = [];
  const urls: string[] = [];
  const open = async (at: { host: string; port: number }, tls: Certificate | null) => {
    const app = createListener({ access: wish.access, log: wish.log, tls });
    registerCouchdb(app, wish.house, '');
    opened.push(app);
    urls.push(await listenAt(app, at, tls !== null));
  };
  if (plain) await open(plain, null);
  if (secure)
    await open(
      secure,
      wish.certificate ?? (await import('./self-made-certificate.ts').then((own) => own.selfMadeCertificate(data))),
    );
  return { urls, close: async () => void (await Promise.all(opened.map((app) => app.close()))) };
}

async function listenAt(app: FastifyInstance, { host, port }: { host: string; port: number }, isSecure: boolean) {
  try {
    await app.listen({ host, port });
  } catch (error) {
    if (systemCode(error) !== 'EADDRINUSE') throw error;
    throw new PilotageError(
      'already-exists',
      `port ${port} for clients of CouchDB is taken by ${portHolder(port)}: end that program, or choose another port with ${isSecure ? '--couchdb-tls-listen' : '--couchdb-listen'} ${host}:PORT`,
      { cause: error },
    );
  }
  const address = app.server.address();
  const taken = address !== null && typeof address === 'object' ? address.port : port;
  return `${isSecure ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${taken}`;
}
