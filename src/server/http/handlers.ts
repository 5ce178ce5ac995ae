import type { FastifyReply, FastifyRequest } from 'fastify';
import type { BodyOf, ParamsOf, QueryOf, ReplyOf } from '../../ground/protocol/route.ts';
import type { Routes } from '../../ground/protocol/routes.ts';

/** One request, with what its route's schemas say of it. */
export interface Call<R> {
  readonly who: FastifyRequest['principal'];
  readonly params: ParamsOf<R>;
  readonly query: QueryOf<R>;
  readonly body: BodyOf<R>;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

/** For each route of the protocol what answers it. */
export type Handlers = {
  readonly [K in keyof Routes]: (call: Call<Routes[K]>) => Promise<ReplyOf<Routes[K]> | FastifyReply>;
};
