import { once } from 'node:events';
import { type Duplex, duplexPair } from 'node:stream';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createMux } from '../../../../src/server/federation/link/mux.ts';

const collect = (channel: Duplex): { text(): string } => {
  const chunks: Buffer[] = [];
  channel.on('data', (chunk: Buffer) => chunks.push(chunk));
  return { text: () => Buffer.concat(chunks).toString('latin1') };
};
const settled = () => new Promise<void>((resolve) => setImmediate(() => setImmediate(resolve)));

/** What a mux sends for this, as bytes. */
async function sent(pieces: readonly (readonly [0 | 1, string])[]): Promise<Buffer> {
  const [near, far] = duplexPair({ highWaterMark: 1 << 22 });
  const seen = collect(far);
  const { channels } = createMux(near);
  for (const [number, text] of pieces) channels[number].write(Buffer.from(text, 'latin1'));
  await settled();
  return Buffer.from(seen.text(), 'latin1');
}

const pieces = fc.array(fc.tuple(fc.constantFrom<0 | 1>(0, 1), fc.string({ minLength: 1, maxLength: 300 })), {
  maxLength: 12,
});

test('both streams come out as they went in, however the bytes between are cut', async () => {
  await fc.assert(
    fc.asyncProperty(pieces, fc.infiniteStream(fc.integer({ min: 1, max: 50 })), async (given, sizes) => {
      const ascii = given.map(([number, text]) => [number, Buffer.from(text).toString('latin1')] as const);
      const bytes = await sent(ascii);
      const [near, far] = duplexPair({ highWaterMark: 1 << 22 });
      const { channels } = createMux(near);
      const seen = channels.map(collect);
      for (let at = 0; at < bytes.length; ) {
        const size = sizes.next().value as number;
        far.write(bytes.subarray(at, at + size));
        at += size;
      }
      await settled();
      for (const number of [0, 1] as const)
        expect(seen[number]?.text()).toBe(
          ascii
            .filter(([one]) => one === number)
            .map(([, text]) => text)
            .join(''),
        );
    }),
    { numRuns: 60 },
  );
});

test('what is larger than a frame goes in several', async () => {
  const large = 'x'.repeat(200_000);
  const bytes = await sent([[1, large]]);
  expect(bytes.length).toBe(200_000 + 4 * 4);
  expect([bytes[0], bytes.readUIntBE(1, 3)]).toEqual([1, 65_536]);
});

test('a stream that there is not ends the connection, and with it both streams', async () => {
  const [near, far] = duplexPair();
  near.on('error', () => undefined);
  const { channels } = createMux(near);
  for (const channel of channels) channel.on('error', () => undefined).resume();
  const over = Promise.all(channels.map((channel) => new Promise((resolve) => channel.once('close', resolve))));
  far.write(Buffer.from([2, 0, 0, 1, 65]));
  await over;
  expect(near.destroyed).toBe(true);
});

test('the end of one stream, or of the connection, is the end of all', async () => {
  for (const end of ['channel', 'socket'] as const) {
    const [near, far] = duplexPair();
    const { channels } = createMux(near);
    for (const channel of channels) channel.resume();
    const over = Promise.all([...channels.map((channel) => once(channel, 'close')), once(near, 'close')]);
    if (end === 'channel') channels[1].destroy();
    else far.destroy();
    await over;
  }
});
