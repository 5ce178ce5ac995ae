import { createServer, request } from 'node:http';

/** A server that shows another one below a path, as an institute's web server does. */
export async function startPathProxy(url: string, path: string): Promise<{ url: string; close(): Promise<void> }> {
  const server = createServer((incoming, reply) => {
    if (!incoming.url?.startsWith(`${path}/`)) return void reply.writeHead(404).end();
    const { method, headers } = incoming;
    const onward = request(url + incoming.url.slice(path.length), { method: method ?? 'GET', headers }, (answer) => {
      reply.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(reply);
    });
    onward.on('error', () => reply.destroy());
    incoming.pipe(onward);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${port}${path}`,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
