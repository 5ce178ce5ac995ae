import Type from 'typebox';
import { LEAST_PASSWORD } from '../base/least-password.ts';
import { Bytes, Count, closed, nullable, Time, UserName } from './schema.ts';
import { Scope, TokenKind } from './token.ts';

/** An administrator may everything; a regular user what is in the projects that they own or were granted. */
export const ROLES = ['administrator', 'regular'] as const;
export type Role = (typeof ROLES)[number];
export const Role = Type.Unsafe<Role>(Type.Union(ROLES.map((role) => Type.Literal(role))));

export const NewPassword = Type.String({
  minLength: LEAST_PASSWORD,
  maxLength: 1024,
  description: `a password of at least ${LEAST_PASSWORD} characters`,
});

export const UserRequest = closed({ name: UserName, role: Type.Optional(Role), password: Type.Optional(NewPassword) });
export type UserRequest = Type.Static<typeof UserRequest>;

export const RoleRequest = closed({ role: Role });

/** `current`: of whoever changes their own with a session. */
export const PasswordRequest = closed({
  password: NewPassword,
  current: Type.Optional(Type.String({ maxLength: 1024 })),
});
export type PasswordRequest = Type.Static<typeof PasswordRequest>;

/** How many other logins the new password has ended. */
export const PasswordReply = closed({ endedSessions: Count });

export const UserView = closed({
  name: Type.String(),
  role: Role,
  /** Without one nobody can log in. */
  hasPassword: Type.Boolean(),
  createdAt: Time,
  /** Those that the user owns. */
  projects: Type.Array(Type.String()),
  /** Among others whose tasks wait: twice as much gets twice the slots. */
  weight: Type.Number(),
  /** Tasks that may run at once. */
  runningLimit: nullable(Count),
  /** Bytes in all projects that the user owns. */
  storageLimit: nullable(Bytes),
});
export type UserView = Type.Static<typeof UserView>;

export const RemovedUser = closed({ name: Type.String(), transferred: Type.Array(Type.String()) });
export type RemovedUser = Type.Static<typeof RemovedUser>;

export const LoginRequest = closed({
  user: Type.String({ minLength: 1, maxLength: 128 }),
  password: Type.String({ minLength: 1, maxLength: 1024 }),
});
export type LoginRequest = Type.Static<typeof LoginRequest>;

/** The only time that the token of the session is shown. It ends when it was not used for some time. */
export const LoginReply = closed({ user: Type.String(), role: Role, token: Type.String(), expiresAt: Time });
export type LoginReply = Type.Static<typeof LoginReply>;

/** Who the server takes the caller for. `projects` null: all. */
export const WhoAmI = closed({
  name: Type.String(),
  user: nullable(Type.String()),
  role: nullable(Role),
  how: Type.Union([TokenKind, Type.Literal('task'), Type.Literal('pilot')]),
  token: nullable(closed({ id: Type.Integer(), name: Type.String() })),
  scopes: Type.Array(Scope),
  projects: nullable(Type.Array(Type.String())),
  expiresAt: nullable(Time),
});
export type WhoAmI = Type.Static<typeof WhoAmI>;
