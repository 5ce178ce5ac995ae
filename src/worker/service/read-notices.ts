/** Who is told of a service's jobs: the keys `mail` and `webhooks` of its file. */
import type { PilotageError } from '../../ground/base/errors.ts';
import { isMailAddress } from '../../ground/base/mail-address.ts';

export interface NoticesConfig {
  /** `admins` are told of failures; `users`: users are told when their jobs are complete. */
  readonly mail: { readonly admins: readonly string[]; readonly users: boolean };
  readonly webhooks: readonly string[];
}

type Wrong = (what: string) => PilotageError;

const MOST = 20;

export function readNotices({ mail, webhooks }: Readonly<Record<string, unknown>>, wrong: Wrong): NoticesConfig {
  const { admin, user, ...strange } = keysOf(mail, wrong);
  const [unknown] = Object.keys(strange);
  if (unknown !== undefined) throw wrong(`there is no key of mail '${unknown}': there are admin, user`);
  if (user !== undefined && typeof user !== 'boolean') throw wrong("'mail.user' has to be true or false");
  return {
    mail: { admins: listOf(admin, 'mail.admin', wrong).map((one) => addressOf(one, wrong)), users: user !== false },
    webhooks: listOf(webhooks, 'webhooks', wrong).map((one) => urlOf(one, wrong)),
  };
}

function keysOf(mail: unknown, wrong: Wrong): Record<string, unknown> {
  if (mail === undefined || mail === null) return {};
  if (typeof mail === 'object' && !Array.isArray(mail)) return mail as Record<string, unknown>;
  throw wrong("'mail' has to be keys with values: admin, user");
}

function listOf(given: unknown, what: string, wrong: Wrong): string[] {
  const list = given === undefined || given === null ? [] : Array.isArray(given) ? given : [given];
  if (list.length > MOST) throw wrong(`'${what}' has ${list.length} entries: ${MOST} are the most`);
  if (list.every((one) => typeof one === 'string')) return [...new Set(list as string[])];
  throw wrong(`'${what}' has to be a text, or a list of texts`);
}

function addressOf(text: string, wrong: Wrong): string {
  if (isMailAddress(text)) return text;
  throw wrong(`'${text}' of 'mail.admin' is no mail address: write NAME@HOST, and several as a list`);
}

function urlOf(text: string, wrong: Wrong): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol) || url.href.length > 2048)
    throw wrong(`'${text}' of 'webhooks' is no address of the web: it begins with https:// or http://`);
  if (url.username !== '' || url.password !== '')
    throw wrong(
      "a URL of 'webhooks' holds a user or a password: leave them out, the server signs what it sends ('pilotage serve --webhook-key-file')",
    );
  url.hash = '';
  return url.href;
}
