import Type, { type TSchema } from 'typebox';

/** Shapes that several resources share. All times that travel are RFC 3339 in UTC, all durations seconds, all sizes bytes. */
export const Time = Type.String({ format: 'date-time' });
export const Seconds = Type.Number({ minimum: 0, maximum: 315_360_000 });
export const Bytes = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
export const Count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
export const Name = Type.String({
  minLength: 1,
  maxLength: 128,
  pattern: '^[A-Za-z0-9_@][A-Za-z0-9_.@/+-]*$',
  description: `a name of at most 128 letters, digits and _ . @ / + -, not beginning with one of . / + -`,
});
/** Of a user: nothing that parts other names. */
export const UserName = Type.String({
  minLength: 1,
  maxLength: 64,
  pattern: '^[A-Za-z0-9_][A-Za-z0-9_.-]*$',
  description: 'a name of at most 64 letters, digits and _ . -, beginning with a letter, a digit or _',
});
export const DigestText = Type.String({ pattern: '^[0-9a-f]{64}$' });
/** Not told where they are the usual ones: 644, 755 for what can be executed and for directories. */
export const Permissions = Type.String({
  pattern: '^[0-7]{3}$',
  description: 'permission bits as of chmod, three octal digits',
});
export const TaskIdText = Type.String({ pattern: '^[1-9][0-9]{0,14}\\.[0-9]{1,15}$' });

/** An object that knows its keys: an unknown one is an error that names the nearest known key. */
export function closed<const T extends Record<string, TSchema>>(properties: T, options: { description?: string } = {}) {
  return Type.Object(properties, { additionalProperties: false, ...options });
}

export function nullable<T extends TSchema>(schema: T) {
  return Type.Union([schema, Type.Null()]);
}
