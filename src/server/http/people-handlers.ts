/** What concerns people: users, logins, tokens, grants, the audit log, and the end of the server. */

import type { Access } from '../access/access.ts';
import type { Audit } from '../access/audit.ts';
import { createGrants, type Membership } from '../access/grants.ts';
import { createLogins } from '../access/logins.ts';
import { createPeople, type Person } from '../access/people.ts';
import { type Principal, requireAdministrator } from '../access/principal.ts';
import { createUserTokens } from '../access/user-tokens.ts';
import type { Users } from '../access/users.ts';
import { time, timeOrNull } from '../pool/views.ts';
import type { Store } from '../store/store.ts';
import type { AuditRow } from '../store/verbs/audit.ts';
import type { TokenRow } from '../store/verbs/tokens.ts';
import type { Handlers } from '../web/handlers.ts';

export type PeopleHandlers = Pick<
  Handlers,
  | 'login'
  | 'logout'
  | 'whoami'
  | 'users'
  | 'addUser'
  | 'removeUser'
  | 'setRole'
  | 'setPassword'
  | 'createProject'
  | 'projectMembers'
  | 'grantProject'
  | 'revokeProject'
  | 'transferProject'
  | 'tokens'
  | 'createToken'
  | 'revokeToken'
  | 'audit'
  | 'stopServer'
>;

export interface PeopleDoor {
  readonly store: Store;
  readonly access: Access;
  readonly users: Users;
  readonly audit: Audit;
  /** Ends this server, as SIGTERM does. */
  readonly stop: () => void;
  /** Which server it is. */
  readonly server: { readonly host: string; readonly pid: number };
}

export function peopleHandlers(door: PeopleDoor): PeopleHandlers {
  const people = createPeople(door);
  return {
    ...tokenHandlers(door),
    ...loginHandlers(door),
    ...grantHandlers(door),
    users: async ({ who }) => (await people.list(who)).map(viewOfPerson),
    addUser: async ({ who, body }) => viewOfPerson(await people.add(who, body)),
    removeUser: async ({ who, params, query }) => {
      const { name, transferred } = await people.remove(who, params.user, query.transferTo ?? null);
      return { name, transferred: [...transferred] };
    },
    setRole: async ({ who, params, body }) => viewOfPerson(await people.setRole(who, params.user, body.role)),
    setPassword: ({ who, params, body }) => people.setPassword(who, params.user, body),
    audit: async ({ who, query }) => {
      requireAdministrator(who);
      const limit = query.limit ?? 100;
      const rows = await door.audit.list({
        who: query.user ?? null,
        action: query.action ?? null,
        since: query.since === undefined ? null : Date.parse(query.since),
        until: query.until === undefined ? null : Date.parse(query.until),
        before: query.before ?? null,
        limit,
      });
      return { entries: rows.map(viewOfEntry), next: rows.length === limit ? (rows.at(-1)?.id ?? null) : null };
    },
    stopServer: async ({ who, reply }) => {
      requireAdministrator(who);
      await door.audit.note(who, 'server.stop', `process ${door.server.pid} on ${door.server.host}`);
      reply.raw.once('close', door.stop);
      return { ...door.server };
    },
  };
}

function tokenHandlers(door: PeopleDoor): Pick<PeopleHandlers, 'tokens' | 'createToken' | 'revokeToken'> {
  const tokens = createUserTokens(door);
  return {
    tokens: async ({ who }) => (await tokens.list(who)).map(viewOfToken),
    createToken: async ({ who, body }) => {
      const { row, token } = await tokens.create(who, body);
      return { ...viewOfToken(row), token };
    },
    revokeToken: async ({ who, params }) => viewOfToken(await tokens.revoke(who, params.id)),
  };
}

function loginHandlers(door: PeopleDoor): Pick<PeopleHandlers, 'login' | 'logout' | 'whoami'> {
  const logins = createLogins(door);
  return {
    login: async ({ body, request, reply }) => {
      reply.header('cache-control', 'no-store');
      const { expiresAt, ...session } = await logins.login(body, request.ip);
      return { ...session, expiresAt: time(expiresAt) };
    },
    logout: async ({ who, reply }) => {
      await logins.logout(who);
      return reply.code(204).send();
    },
    whoami: async ({ who }) => viewOfPrincipal(who),
  };
}

function grantHandlers(
  door: PeopleDoor,
): Pick<PeopleHandlers, 'createProject' | 'projectMembers' | 'grantProject' | 'revokeProject' | 'transferProject'> {
  const grants = createGrants(door);
  return {
    createProject: async ({ who, body }) => {
      const { name, owner, created_at: createdAt } = await grants.createProject(who, body.name);
      const counts = { waiting: 0, queued: 0, running: 0, succeeded: 0, failed: 0, cancelled: 0 };
      return { name, owner, createdAt: time(createdAt), counts };
    },
    projectMembers: async ({ who, params }) => viewOfMembers(await grants.members(who, params.project)),
    grantProject: async ({ who, params }) => viewOfMembers(await grants.grant(who, params.project, params.user)),
    revokeProject: async ({ who, params }) => viewOfMembers(await grants.revoke(who, params.project, params.user)),
    transferProject: async ({ who, params, body }) =>
      viewOfMembers(await grants.transfer(who, params.project, body.to)),
  };
}

function viewOfPerson({ createdAt, projects, ...person }: Person) {
  return { ...person, createdAt: time(createdAt), projects: [...projects] };
}

function viewOfMembers({ project, owner, members }: Membership) {
  return {
    project,
    owner,
    members: members.map(({ user_name, granted_by, granted_at }) => ({
      user: user_name,
      grantedBy: granted_by,
      grantedAt: time(granted_at),
    })),
  };
}

function viewOfPrincipal({ name, tokenId, scopes, projects, token, user, task }: Principal) {
  return {
    name,
    user: user?.name ?? null,
    role: user?.role ?? null,
    how: token?.kind ?? (task ? ('task' as const) : ('pilot' as const)),
    token: token ? { id: tokenId, name: token.name } : null,
    scopes: [...scopes],
    projects: projects === null ? null : [...projects],
    expiresAt: timeOrNull(token?.expiresAt ?? null),
  };
}

function viewOfToken(row: TokenRow) {
  return {
    id: row.id,
    name: row.name,
    kind: row.kind,
    user: row.user_name,
    scopes: JSON.parse(row.scopes),
    projects: row.projects === null ? null : JSON.parse(row.projects),
    createdAt: time(row.created_at),
    expiresAt: timeOrNull(row.expires_at),
    revokedAt: timeOrNull(row.revoked_at),
  };
}

function viewOfEntry({ at, detail, ...entry }: AuditRow) {
  return { ...entry, at: time(at), detail: JSON.parse(detail) as Record<string, unknown> };
}
