import { Duplex } from 'node:stream';

/**
 * Two streams over one connection: on each of them one side asks and the other answers, so that both sides can ask. A
 * frame is a byte that names the stream, three with its length, and so many bytes. What flows is bounded by those who
 * speak over the streams (HTTP/2 has a window for each request).
 */
export interface Mux {
  readonly channels: readonly [Duplex, Duplex];
}

const HEADER_BYTES = 4;
const MOST_BYTES = 64 * 1024;

export function createMux(socket: Duplex): Mux {
  const channels: [Duplex, Duplex] = [createChannel(socket, 0), createChannel(socket, 1)];
  const read = createReader((channel, bytes) => {
    if (channel > 1) {
      socket.destroy(new Error(`the other side sent rubbish: there is no stream ${channel}`));
      return;
    }
    channels[channel as 0 | 1].push(bytes);
  });
  socket.on('data', read);
  const end = (error?: Error): void => {
    for (const channel of channels) {
      channel.push(null);
      channel.destroy(error);
    }
  };
  socket.once('error', end);
  socket.once('close', () => end());
  socket.once('end', () => end());
  for (const channel of channels) channel.once('close', () => socket.destroy());
  return { channels };
}

function createChannel(socket: Duplex, number: number): Duplex {
  return new Duplex({
    allowHalfOpen: false,
    readableHighWaterMark: 1024 * 1024,
    read: () => undefined,
    write: (chunk: Buffer, _encoding, done) => writeFrames(socket, number, chunk, done),
    final: (done) => done(),
  });
}

function writeFrames(socket: Duplex, number: number, chunk: Buffer, done: (error?: Error | null) => void): void {
  if (socket.destroyed) {
    done(new Error('the link is gone'));
    return;
  }
  for (let start = 0; start < chunk.length; start += MOST_BYTES) {
    const piece = chunk.subarray(start, start + MOST_BYTES);
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt8(number, 0);
    header.writeUIntBE(piece.length, 1, 3);
    const isLast = start + MOST_BYTES >= chunk.length;
    socket.write(Buffer.concat([header, piece]), isLast ? (error) => done(error ?? null) : undefined);
  }
}

/** Calls back with each piece of a frame as it comes; a frame need not be whole. */
function createReader(take: (channel: number, bytes: Buffer) => void): (chunk: Buffer) => void {
  let header = Buffer.alloc(0);
  let channel = 0;
  let left = 0;
  return (chunk) => {
    let rest = chunk;
    while (rest.length > 0) {
      if (left > 0) {
        const piece = rest.subarray(0, left);
        take(channel, piece);
        left -= piece.length;
        rest = rest.subarray(piece.length);
        continue;
      }
      const wanted = HEADER_BYTES - header.length;
      header = Buffer.concat([header, rest.subarray(0, wanted)]);
      rest = rest.subarray(wanted);
      if (header.length < HEADER_BYTES) return;
      channel = header.readUInt8(0);
      left = header.readUIntBE(1, 3);
      header = Buffer.alloc(0);
    }
  };
}
