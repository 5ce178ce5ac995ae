import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Between a client and the face: replies that a test names are lost on their way; logins are added where asked for. */
export interface PicasProxy {
  readonly url: string;
  /** Of these requests the server does what they ask, and the client gets a closed connection. */
  lose(isMeant: (method: string, path: string, body: string) => boolean, most: number): void;
  readonly lost: number;
  close(): Promise<void>;
}

export async function startPicasProxy(target: string, authorization?: string): Promise<PicasProxy> {
  const { hostname, port } = new URL(target);
  let isMeant: (method: string, path: string, body: string) => boolean = () => false;
  let left = 0;
  let lost = 0;
  const pass = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    const pieces: Buffer[] = [];
    incoming.on('data', (piece: Buffer) => pieces.push(piece));
    incoming.on('end', () => {
      const body = Buffer.concat(pieces);
      const { method = 'GET', url = '/' } = incoming;
      const headers = { ...incoming.headers, ...(authorization === undefined ? {} : { authorization }) };
      const forward = request({ hostname, port, method, path: url, headers }, (answer) => {
        if (left > 0 && isMeant(method, url, body.toString())) {
          left -= 1;
          lost += 1;
          answer.resume().once('end', () => outgoing.destroy());
          return;
        }
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(outgoing);
      });
      forward.on('error', () => outgoing.destroy());
      outgoing.on('close', () => forward.destroy());
      forward.end(body);
    });
  };
  const server = createServer(pass);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    lose: (meant, most) => {
      isMeant = meant;
      left = most;
    },
    get lost() {
      return lost;
    },
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
