import { PilotageError } from '../../ground/base/errors.ts';
import { requireOwner } from '../access/grants.ts';
import { type Principal, requireAdministrator } from '../access/principal.ts';
import type { Parts } from './parts.ts';
import { projectOf } from './projects.ts';

interface Group {
  readonly names?: readonly string[];
}

/**
 * The user that belongs to a project: may read and write its documents and its views. Somebody else of that name is
 * left alone, and the user is called otherwise. `letIn` opens the database to it. Names of users are everybody's: whoever
 * manages this project alone may not give them passwords.
 */
export async function projectUser(parts: Parts, who: Principal, project: string) {
  requireAdministrator(who);
  const row = await projectOf(parts, who, project);
  const security = JSON.parse(row.security ?? '{}') as { admins?: Group; members?: Group };
  const own = new Set([...(security.admins?.names ?? []), ...(security.members?.names ?? [])]);
  const user = await freeName(parts, project.replace(/[^A-Za-z0-9_.-]/g, '-'), own);
  const withUser = (group: Group | undefined) => ({ ...group, names: [...new Set([...(group?.names ?? []), user])] });
  const opened = { ...security, admins: withUser(security.admins), members: withUser(security.members) };
  return { user, letIn: () => parts.store.setSecurity({ projectId: row.id, security: JSON.stringify(opened) }) };
}

async function freeName(parts: Parts, wanted: string, own: ReadonlySet<string>): Promise<string> {
  for (let i = 1; i <= 100; i += 1) {
    const name = i === 1 ? wanted : `${wanted}-${i}`;
    const standing = await parts.store.findUser({ name });
    // A user of Pilotage is a person, whatever the project's list says: their password is theirs.
    if (standing ? own.has(name) && standing.role === null : true) return name;
  }
  throw new PilotageError('already-exists', `there are a hundred users called like '${wanted}': remove some of them`);
}

export interface TokenLimitsWish {
  readonly maxLockAgeSeconds?: number | null | undefined;
  readonly maxScrubs?: number | null | undefined;
}

/** Says what holds from then on. */
export async function setTokenLimits(parts: Parts, who: Principal, project: string, wish: TokenLimitsWish) {
  const { id, name, owner } = await projectOf(parts, who, project);
  requireOwner(who, { name, owner });
  const { maxLockAgeSeconds: seconds, maxScrubs } = wish;
  await parts.store.setTokenLimits({
    projectId: id,
    usualLockMs: parts.settings.maxLockMs,
    ...(seconds === undefined ? {} : { maxLockMs: seconds === null ? null : Math.round(seconds * 1000) }),
    ...(maxScrubs === undefined ? {} : { maxScrubs }),
  });
  const row = await projectOf(parts, who, project);
  return {
    project,
    maxLockAgeSeconds: (row.max_lock_ms ?? parts.settings.maxLockMs) / 1000,
    maxScrubs: row.max_scrubs ?? parts.settings.maxScrubs,
  };
}
