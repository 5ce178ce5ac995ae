import type { FastifyReply, FastifyRequest } from 'fastify';
import { messageOf, PilotageError } from '../../ground/base/errors.ts';
import type { Transport } from '../../ground/client/transport.ts';
import type { Principal } from '../access/principal.ts';
import type { Parts } from '../pool/parts.ts';
import { openSecrets } from './delegation/borrow.ts';
import type { Identity } from './identity.ts';

export type Relay = (principal: Principal, request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>;

/** A poll may be open so long. */
const ANSWER_SECONDS = 180;
const PASSED = ['content-type', 'content-length', 'range', 'accept'];
const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'transfer-encoding', 'upgrade', 'trailer', 'te']);

/**
 * A borrowed task that submits or looks at tasks means those of its home: what its program asks goes there, with the
 * credential of the home's own attempt, and the answer comes back as it is. Where the home is further away the next server
 * does the same.
 */
export function createRelay(parts: Parts, identity: Identity, transportTo: (peer: string) => Transport): Relay {
  return async ({ task }, request, reply) => {
    if (!task) throw new PilotageError('internal', 'what is relayed is asked by a task');
    const [row] = await parts.store.findBorrowed({ keys: [{ submission: task.submission, idx: task.index }] });
    if (!row) throw new PilotageError('unauthenticated', 'the credential of a task is good only while the task runs');
    const [secret = ''] = await openSecrets(parts.store, identity, [row]);
    const token = `task:${row.task}:${row.attempt}:${secret}`;
    const passed = PASSED.flatMap((name) => {
      const value = request.headers[name];
      return typeof value === 'string' ? [[name, value]] : [];
    });
    const answer = await transportTo(row.peer_id)
      .send({
        method: request.method,
        path: request.raw.url ?? '/',
        headers: { ...Object.fromEntries(passed), authorization: `Bearer ${token}` },
        body: request.raw,
        signal: request.gone,
        timeoutSeconds: ANSWER_SECONDS,
      })
      .catch((error: unknown) => {
        throw new PilotageError('not-ready', `the home of this task does not answer now: ${messageOf(error)}`, {
          cause: error,
          details: { retryAfterSeconds: 1 },
        });
      });
    for (const [name, value] of Object.entries(answer.headers))
      if (value !== undefined && !name.startsWith(':') && !HOP_BY_HOP.has(name)) reply.header(name, value);
    return reply.code(answer.status).send(answer.body);
  };
}
