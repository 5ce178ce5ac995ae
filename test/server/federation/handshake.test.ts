import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { shakeHands } from '../../../src/server/federation/link/shake-hands.ts';
import { newIdentity } from '../../support/new-identity.ts';

/** Both ends of a real connection. */
async function connection(): Promise<[Socket, Socket]> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const near = connect({ ...(server.address() as { port: number }), host: '127.0.0.1' });
  const [[far]] = await Promise.all([accepted, once(near, 'connect')]);
  for (const socket of [near, far]) socket.on('error', () => undefined);
  onTestFinished(() => {
    near.destroy();
    far.destroy();
    server.close();
  });
  return [near, far];
}

test('each side knows the other by its certificate', async () => {
  const [ours, theirs] = await Promise.all([newIdentity(), newIdentity()]);
  const [near, far] = await connection();
  const [dialler, dialled] = await Promise.all([shakeHands(near, 'dialler', ours), shakeHands(far, 'dialled', theirs)]);
  expect([dialler.id, dialled.id]).toEqual([theirs.id, ours.id]);
});

const WAYS = {
  'hangs up': (socket: Socket) => void socket.destroy(),
  'hangs up hard': (socket: Socket) => void socket.resetAndDestroy(),
  'says that it is done': (socket: Socket) => void socket.end(),
  'sends rubbish': (socket: Socket) => void socket.write('GET / HTTP/1.1\r\n\r\n'),
};

for (const role of ['dialler', 'dialled'] as const)
  for (const [what, act] of Object.entries(WAYS))
    test(`who ${what} in place of shaking hands is seen to at once by the ${role}`, async () => {
      const identity = await newIdentity();
      const [near, far] = await connection();
      const begun = performance.now();
      const shaking = shakeHands(near, role, identity);
      shaking.catch(() => undefined);
      act(far);
      await expect(shaking).rejects.toThrow();
      expect(performance.now() - begun).toBeLessThan(5000);
    });
