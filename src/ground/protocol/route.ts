import type { Static, TSchema } from 'typebox';

/** One call of the API: what the server registers, the client sends and OpenAPI describes. Paths are below `/api/v1`. */
export interface Route<
  Params extends TSchema = TSchema,
  Query extends TSchema = TSchema,
  Body extends TSchema = TSchema,
  Reply extends TSchema = TSchema,
> {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE' | 'HEAD';
  readonly path: string;
  readonly summary: string;
  readonly params?: Params;
  readonly query?: Query;
  readonly body?: Body;
  readonly reply?: Reply;
  readonly status?: number;
  /** Bytes rather than JSON go in, out or both. */
  readonly raw?: 'in' | 'out';
  /** Besides JSON the body may be a form, as browsers and `curl -F` send it. */
  readonly alsoAsForm?: boolean;
  /** Reached without a token. */
  readonly open?: boolean;
}

export type ParamsOf<R> = R extends { params: infer P extends TSchema } ? Static<P> : undefined;
export type QueryOf<R> = R extends { query: infer Q extends TSchema } ? Static<Q> : undefined;
export type BodyOf<R> = R extends { body: infer B extends TSchema } ? Static<B> : undefined;
export type ReplyOf<R> = R extends { reply: infer Y extends TSchema } ? Static<Y> : undefined;

export const API = '/api/v1';
