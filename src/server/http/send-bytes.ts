import type { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { giveBackWhenSent } from '../../ground/content/give-back.ts';

/** Whole, or from an offset on (`Range: bytes=N-`), for downloads that broke off. */
export async function sendBytes(
  reply: FastifyReply,
  request: FastifyRequest,
  read: (start: number) => Promise<{ size: number; bytes: Readable }>,
): Promise<FastifyReply> {
  // More digits than any file has bytes are no offset.
  const start = Number(/^bytes=(\d{1,15})-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
  const { size, bytes } = await read(start);
  reply.type('application/octet-stream').header('content-length', String(Math.max(0, size - start)));
  if (start > 0) reply.code(206).header('content-range', `bytes ${start}-${size - 1}/${size}`);
  giveBackWhenSent(bytes, reply.raw);
  return reply.send(bytes);
}
