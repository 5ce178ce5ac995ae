import Type from 'typebox';
import { closed, Name, nullable, Seconds, Time, UserName } from './schema.ts';

/**
 * What the bearer of a token may do: `admin` all, `submit` and `read` in projects, `work` claim and report, `front` see
 * the forms and queues of services and add jobs to them, nothing else.
 */
export const SCOPES = ['admin', 'submit', 'read', 'work', 'front'] as const;
export type Scope = (typeof SCOPES)[number];
export const Scope = Type.Unsafe<Scope>(Type.Union(SCOPES.map((scope) => Type.Literal(scope))));

/** `session`: what a login made; `admin`: that of a server's data directory. */
export const TokenKind = Type.Union([Type.Literal('token'), Type.Literal('session'), Type.Literal('admin')]);
export type TokenKind = Type.Static<typeof TokenKind>;

/** `user`: for whom an administrator makes it; null: it stands for itself. A regular user's is always their own. */
export const TokenRequest = closed({
  name: Name,
  scopes: Type.Array(Scope, { minItems: 1 }),
  projects: Type.Optional(Type.Array(Name, { minItems: 1 })),
  expiresInSeconds: Type.Optional(Seconds),
  user: Type.Optional(nullable(UserName)),
});
export type TokenRequest = Type.Static<typeof TokenRequest>;

export const TokenView = closed({
  id: Type.Integer(),
  name: Type.String(),
  kind: TokenKind,
  user: nullable(Type.String()),
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
