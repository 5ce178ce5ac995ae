/**
 * Memory of pieces of a stream that nobody needs any more, given back at once. Left to the garbage collector some 100 MB
 * of it pile up at full speed, since it sees the small objects and not the bytes behind them.
 */
import type { Readable, Writable } from 'node:stream';

/** Of pieces that are alone in their memory, and that belong to nobody else: afterwards they are empty. */
export function giveBack(pieces: readonly Buffer[]): void {
  for (const { buffer, byteLength } of pieces)
    if (byteLength === buffer.byteLength && buffer instanceof ArrayBuffer) buffer.transfer(0);
}

/** For a stream that is about to be piped to a socket or an HTTP message, and that nobody else reads: gives back what was sent. */
export function giveBackWhenSent(from: Readable, to: Writable): void {
  let sent: Buffer[] = [];
  to.once('pipe', () =>
    from.on('data', (piece: Buffer) => {
      sent.push(piece);
    }),
  );
  // Told when all that was written so far has gone.
  to.on('drain', () => {
    giveBack(sent);
    sent = [];
  });
}
