import { connect, createServer, type Socket } from 'node:net';

/** Between a client and a server: passes bytes on, counts them, and cuts connections in the middle. */
export interface CuttingProxy {
  readonly url: string;
  /** Bytes that clients sent, and that they got. */
  readonly up: number;
  readonly down: number;
  readonly cuts: number;
  /** Cuts all connections when so many more bytes have passed upwards (or downwards). */
  cutAfter(bytes: number, way: 'up' | 'down'): void;
  /** Refuses new connections, or takes them again. */
  block(isBlocked: boolean): void;
  close(): Promise<void>;
}

export async function startCuttingProxy(url: string): Promise<CuttingProxy> {
  const { port, hostname } = new URL(url);
  const passed = { up: 0, down: 0 };
  const limit: { up: number | undefined; down: number | undefined } = { up: undefined, down: undefined };
  const sockets = new Set<Socket>();
  let cuts = 0;
  let isBlocked = false;
  const cut = (): void => {
    cuts += 1;
    for (const socket of sockets) socket.resetAndDestroy();
  };
  const pass = (from: Socket, to: Socket, way: 'up' | 'down'): void => {
    from.on('data', (chunk: Buffer) => {
      const left = limit[way] === undefined ? chunk.length : Math.max(0, limit[way] - passed[way]);
      const part = chunk.subarray(0, left);
      passed[way] += part.length;
      // What was let through is to arrive before the connection ends.
      if (limit[way] !== undefined && passed[way] >= limit[way]) {
        limit[way] = undefined;
        to.write(part, () => setImmediate(cut));
        from.pause();
        return;
      }
      if (!to.write(part)) {
        from.pause();
        to.once('drain', () => from.resume());
      }
    });
    from.on('end', () => to.end());
    from.on('error', () => to.destroy());
    from.on('close', () => {
      sockets.delete(from);
      to.destroy();
    });
    sockets.add(from);
  };
  const server = createServer((client) => {
    if (isBlocked) return void client.resetAndDestroy();
    const upstream = connect(Number(port), hostname);
    pass(client, upstream, 'up');
    pass(upstream, client, 'down');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${address.port}`,
    get up() {
      return passed.up;
    },
    get down() {
      return passed.down;
    },
    get cuts() {
      return cuts;
    },
    cutAfter: (bytes, way) => {
      limit[way] = passed[way] + bytes;
    },
    block: (to) => {
      isBlocked = to;
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
