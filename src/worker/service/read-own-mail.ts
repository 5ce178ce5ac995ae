import { Value } from 'typebox/value';
import { OwnMail } from '../../ground/protocol/service.ts';

/** What a service's hook `mail` returned; null: no mail. */
export function readOwnMail(value: unknown): { ok: true; mail: OwnMail | null } | { ok: false; message: string } {
  if (value === null) return { ok: true, mail: null };
  if (Value.Check(OwnMail, value)) return { ok: true, mail: value };
  const what = value === undefined ? 'nothing' : JSON.stringify(value).slice(0, 200);
  return {
    ok: false,
    message: `'mail' returned ${what}, which is no mail: return { subject, text } of at most 1,000 and 100,000 characters, or null for none`,
  };
}
