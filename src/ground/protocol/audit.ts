import Type from 'typebox';
import { Count, closed, nullable, Time } from './schema.ts';

/** Who did what. `times`: so often, where failures were counted together. */
export const AuditView = closed({
  id: Type.Integer(),
  at: Time,
  who: Type.String(),
  how: Type.String(),
  address: nullable(Type.String()),
  action: Type.String(),
  subject: Type.String(),
  detail: Type.Record(Type.String(), Type.Unknown()),
  outcome: Type.Union([Type.Literal('done'), Type.Literal('refused')]),
  times: Count,
});
export type AuditView = Type.Static<typeof AuditView>;

/** `action`: one, or the first word of several: `user` is all that was done to users. `before`: the last id of the page before. */
export const AuditQuery = closed({
  user: Type.Optional(Type.String({ maxLength: 128 })),
  action: Type.Optional(Type.String({ maxLength: 64 })),
  since: Type.Optional(Time),
  until: Type.Optional(Time),
  before: Type.Optional(Type.Integer({ minimum: 1 })),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
});

/** Newest first. */
export const AuditPage = closed({ entries: Type.Array(AuditView), next: nullable(Type.Integer()) });
export type AuditPage = Type.Static<typeof AuditPage>;
