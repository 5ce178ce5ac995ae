import Type from 'typebox';

/** RFC 9457 `application/problem+json`, with a stable `code`. */
export const Problem = Type.Object({
  type: Type.String(),
  title: Type.String(),
  status: Type.Integer(),
  code: Type.String(),
  detail: Type.String(),
  retryAfterSeconds: Type.Optional(Type.Number()),
});
export type Problem = Type.Static<typeof Problem>;
