import Type from 'typebox';
import { closed, Name, nullable, Seconds, Time } from './schema.ts';

/**
 * What the bearer of a token may do: `admin` all, `submit` and `read` in projects, `work` claim and report, `front` see
 * the forms and queues of services and add jobs to them, nothing else.
 */
export const SCOPES = ['admin', 'submit', 'read', 'work', 'front'] as const;
export type Scope = (typeof SCOPES)[number];
export const Scope = Type.Unsafe<Scope>(Type.Union(SCOPES.map((scope) => Type.Literal(scope))));

export const TokenRequest = closed({
  name: Name,
  scopes: Type.Array(Scope, { minItems: 1 }),
  projects: Type.Optional(Type.Array(Name, { minItems: 1 })),
  expiresInSeconds: Type.Optional(Seconds),
});
export type TokenRequest = Type.Static<typeof TokenRequest>;

export const TokenView = closed({
  id: Type.Integer(),
  name: Type.String(),
  scopes: Type.Array(Scope),
  projects: nullable(Type.Array(Type.String())),
  createdAt: Time,
  expiresAt: nullable(Time),
  revokedAt: nullable(Time),
});
export type TokenView = Type.Static<typeof TokenView>;

/** The only time that the token itself is shown: the server keeps its hash. */
export const NewToken = closed({ ...TokenView.properties, token: Type.String() });
export type NewToken = Type.Static<typeof NewToken>;
