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

/** For each route of a table what answers it. */
export type HandlersOf<Table> = {
  readonly [K in keyof Table]: (call: Call<Table[K]>) => Promise<ReplyOf<Table[K]> | FastifyReply>;
};

export type Handlers = HandlersOf<Routes>;
