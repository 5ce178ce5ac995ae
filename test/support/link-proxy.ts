import { connect, createServer, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

/** A stretch of network between two servers: it can be slow, cut, or silent. */
export interface LinkProxy {
  readonly port: number;
  /** Bytes that passed, both ways together. */
  readonly bytes: number;
  /** Connections that are open just now. */
  readonly connections: number;
  /** Connections that it refused so far. */
  readonly refused: number;
  /** Milliseconds on each way. */
  delay(ms: number): void;
  /** All connections end, as when a router is restarted. */
  cut(): void;
  /** Nothing passes, and nobody is told. */
  mute(isMute: boolean): void;
  /** New connections are refused. */
  block(isBlocked: boolean): void;
}

export async function startLinkProxy(to: () => number, host = '127.0.0.1'): Promise<LinkProxy> {
  const sockets = new Set<Socket>();
  let [delayMs, bytes, refused, isMute, isBlocked] = [0, 0, 0, false, false];
  const pass = (from: Socket, into: Socket): void => {
    sockets.add(from);
    let last = 0;
    from.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (isMute) return;
      if (delayMs === 0 && performance.now() > last) {
        if (!into.write(chunk)) {
          from.pause();
          into.once('drain', () => from.resume());
        }
        return;
      }
      // In order, whatever the delay is set to meanwhile.
      last = Math.max(last, performance.now() + delayMs);
      setTimeout(() => into.write(chunk), last - performance.now());
    });
    from.on('error', () => into.destroy());
    from.on('close', () => {
      sockets.delete(from);
      into.destroy();
    });
  };
  const server = createServer((client) => {
    if (isBlocked) {
      refused += 1;
      client.resetAndDestroy();
      return;
    }
    client.setNoDelay(true);
    const upstream = connect({ port: to(), host, noDelay: true });
    pass(client, upstream);
    pass(upstream, client);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return {
    port: (server.address() as { port: number }).port,
    get bytes() {
      return bytes;
    },
    get connections() {
      return sockets.size / 2;
    },
    get refused() {
      return refused;
    },
    delay: (ms) => {
      delayMs = ms;
    },
    cut: () => {
      for (const socket of sockets) socket.resetAndDestroy();
    },
    mute: (to) => {
      isMute = to;
    },
    block: (to) => {
      isBlocked = to;
    },
  };
}
