import type { FastifyInstance } from 'fastify';
import type { ServeOptions } from '../../face/cli/context.ts';
import { PilotageError, systemCode } from '../../ground/base/errors.ts';
import type { Log } from '../../ground/base/log.ts';
import type { ProjectCredentials } from '../../ground/protocol/project.ts';
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
  readonly where: Pick<ProjectCredentials, 'ports' | 'certificate'>;
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
  const { couchdbListen, couchdbTlsListen, data, tls } = wish.options;
  const opened: FastifyInstance[] = [];
  const ports: { host: string; port: number; secure: boolean }[] = [];
  const open = async (at: { host: string; port: number }, certificate: Certificate | null) => {
    const app = createListener({ access: wish.access, log: wish.log, tls: certificate });
    registerCouchdb(app, wish.house, '');
    opened.push(app);
    const secure = certificate !== null;
    ports.push({ host: at.host, port: await listenAt(app, at, secure), secure });
  };
  const close = async () => void (await Promise.all(opened.map((app) => app.close())));
  let certificate = tls.kind === 'self-made' ? wish.certificate : null;
  try {
    if (couchdbListen) await open(couchdbListen, null);
    if (couchdbTlsListen) {
      if (!wish.certificate) certificate = await (await import('./self-made-certificate.ts')).selfMadeCertificate(data);
      await open(couchdbTlsListen, wish.certificate ?? certificate);
    }
  } catch (error) {
    await close();
    throw error;
  }
  return {
    urls: ports.map(({ host, port, secure }) => `${secure ? 'https' : 'http'}://${bracketed(host)}:${port}`),
    where: { ports, certificate: certificate?.cert ?? null },
    close,
  };
}

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
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
  return address !== null && typeof address === 'object' ? address.port : port;
}
