import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import { freePort } from './free-port.ts';

export interface Received {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Receives calls of web hooks on a port of 127.0.0.1, and answers as it is told: with this status, or not at all. */
export interface HookReceiver {
  readonly url: string;
  readonly received: Received[];
  answer(status: number | 'nothing', headers?: Record<string, string>): void;
  start(): Promise<void>;
  stop(): Promise<void>;
}

export async function startHookReceiver(): Promise<HookReceiver> {
  const port = await freePort();
  const received: Received[] = [];
  let status: number | 'nothing' = 204;
  let headers: Record<string, string> = {};
  let server: Server | undefined;
  const receiver: HookReceiver = {
    url: `http://127.0.0.1:${port}/told`,
    received,
    answer(next, more = {}) {
      status = next;
      headers = more;
    },
    async start() {
      server = createServer((request, reply) => {
        let body = '';
        request.setEncoding('utf8').on('data', (piece: string) => {
          body += piece;
        });
        request.on('end', () => {
          received.push({ path: request.url ?? '', headers: request.headers, body });
          if (status !== 'nothing') reply.writeHead(status, headers).end();
        });
      });
      await new Promise<void>((resolve) => server?.listen(port, '127.0.0.1', resolve));
    },
    async stop() {
      server?.closeAllConnections();
      await new Promise((resolve) => (server ? server.close(resolve) : resolve(undefined)));
      server = undefined;
    },
  };
  await receiver.start();
  return receiver;
}
