import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Access } from '../access/access.ts';
import type { Look } from '../access/open-requests.ts';

/**
 * How long a request may go on: until its client is gone, or until whoever asks may no longer what they could when they
 * came. A stream that heeds `ends` ends as it always does; a call that waits gets the error that a new one would get;
 * what goes on all the same (a long download, say) is cut off. What is neither waiting nor streaming ends by itself.
 */
export interface RequestLife {
  /**
   * Whoever takes it waits: nothing that is answered after it aborted is sent. Not for calls that change anything, unless they
   * may be repeated: what an exchange of a worker gave out is given again, or taken back.
   */
  readonly ends: AbortSignal;
  /** From now on whoever asks is looked at anew, until the answer is sent. */
  watch(look: Look): void;
  /** An answer, or the reason why it comes too late. */
  inTime<T>(answer: Promise<T>): Promise<T>;
}

/** So long a stream has to end by itself. */
const GRACE_MS = 2000;

export function createLife(access: Access, request: FastifyRequest, reply: FastifyReply): RequestLife {
  const over = new AbortController();
  let ends: AbortSignal | undefined;
  let why: Error | undefined;
  const isWaiting = () => ends !== undefined && !reply.raw.headersSent;
  const end = (found: Error | 'less') => {
    // Who may less asks anew by that, as after any broken connection, and is told what is so now.
    if (found === 'less' && isWaiting()) request.raw.destroy();
    if (found !== 'less') why = found;
    over.abort();
    setTimeout(() => cutOff(request, reply), GRACE_MS).unref();
  };
  const requireInTime = () => {
    if (why && isWaiting()) throw why;
  };
  return {
    get ends() {
      ends ??= AbortSignal.any([request.gone, over.signal]);
      return ends;
    },
    watch(look) {
      reply.raw.once('close', access.whileOpen(look, end));
    },
    async inTime(answer) {
      try {
        return await answer;
      } finally {
        requireInTime();
      }
    },
  };
}

function cutOff(request: FastifyRequest, reply: FastifyReply): void {
  if (reply.raw.writableFinished) return;
  if (reply.raw.headersSent || !request.raw.complete) request.raw.destroy();
}
