import http from 'node:http';
import { messageOf } from '../../ground/base/errors.ts';
import type { Log } from '../../ground/base/log.ts';
import { upgradeToLink } from '../../server/federation/routes.ts';
import type { NeighbourDoor } from './open-neighbours.ts';
import type { ServerFiles } from './server-files.ts';

export interface EarlierPorts {
  close(): void;
}

const LOOK_MS = 1000;

/**
 * A server that listens elsewhere than before is looked for by its neighbours where it was, and if they moved too, nowhere
 * else. Until all of them know its new address it opens to them there as well, as far as the ports are free.
 */
export function listenAtEarlierPorts(options: {
  readonly host: string;
  readonly files: ServerFiles;
  readonly log: Log;
  readonly door: NeighbourDoor;
}): EarlierPorts {
  const { host, files, log, door } = options;
  const servers = files.earlierPorts().map((port) => {
    const server = http.createServer((_request, response) => void response.writeHead(404).end());
    server.on('upgrade', upgradeToLink(door.find));
    server.on('error', (error) => log.debug({ port, error: messageOf(error) }, 'an earlier port is not free'));
    server.listen({ host, port });
    return server;
  });
  const close = (): void => {
    clearInterval(timer);
    for (const server of servers) server.close();
  };
  const timer = setInterval(() => {
    if (!door.federation?.isKnownToAll()) return;
    files.keepEarlierPorts([]);
    close();
  }, LOOK_MS);
  if (servers.length === 0) close();
  return { close };
}
