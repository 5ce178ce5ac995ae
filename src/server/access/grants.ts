import { PilotageError } from '../../ground/base/errors.ts';
import type { Store } from '../store/store.ts';
import type { MemberRow } from '../store/verbs/members.ts';
import type { ProjectRow } from '../store/verbs/projects.ts';
import type { Access } from './access.ts';
import type { Audit } from './audit.ts';
import { findProject } from './find-project.ts';
import { isAdministrator, mayDo, type Principal, requirePerson, requireScope } from './principal.ts';

export interface Membership {
  readonly project: string;
  readonly owner: string;
  readonly members: readonly MemberRow[];
}

/** Who may enter a project. Its owner and administrators decide; the members do not. */
export interface Grants {
  createProject(who: Principal, name: string): Promise<ProjectRow>;
  members(who: Principal, project: string): Promise<Membership>;
  grant(who: Principal, project: string, user: string): Promise<Membership>;
  revoke(who: Principal, project: string, user: string): Promise<Membership>;
  transfer(who: Principal, project: string, to: string): Promise<Membership>;
}

export interface GrantsParts {
  readonly store: Store;
  readonly access: Access;
  readonly audit: Audit;
}

export function createGrants({ store, access, audit }: GrantsParts): Grants {
  const find = (who: Principal, name: string) => findProject(store, who, name);
  const membership = async ({ id, name }: ProjectRow): Promise<Membership> => {
    const owner = (await store.listProjects()).find((project) => project.id === id)?.owner ?? '';
    return { project: name, owner, members: await store.listMembers({ projectId: id }) };
  };
  const owned = async (who: Principal, name: string) => {
    const project = await find(who, name);
    requireOwner(who, project);
    return project;
  };
  return {
    async createProject(who, name) {
      requirePerson(who);
      refuseReserved(who, name);
      const row = await store.createProject({ name, owner: who.name, audit: audit.entry(who, 'project.create', name) });
      if (!row.made) throw new PilotageError('already-exists', `there is a project '${name}' already`);
      access.changed();
      return row;
    },
    async members(who, name) {
      requireScope(who, 'read');
      return membership(await find(who, name));
    },
    async grant(who, name, user) {
      const project = await owned(who, name);
      const entry = audit.entry(who, 'project.grant', name, { user });
      const result = await store.grantProject({ projectId: project.id, user, by: who.name, audit: entry });
      access.changed();
      if (result === 'no-user') throw noUser(user);
      return membership(project);
    },
    async revoke(who, name, user) {
      const project = await owned(who, name);
      const entry = audit.entry(who, 'project.revoke', name, { user });
      const result = await store.revokeProject({ projectId: project.id, user, audit: entry });
      access.changed();
      if (result === 'is-owner')
        throw new PilotageError(
          'wrong-state',
          `'${user}' owns the project '${name}': give it to somebody else first, with 'pilotage project transfer ${name} USER'`,
        );
      if (result === 'no-member')
        throw new PilotageError(
          'not-found',
          `'${user}' has no grant for the project '${name}': 'pilotage project members ${name}' shows who has`,
        );
      return membership(project);
    },
    async transfer(who, name, to) {
      const project = await owned(who, name);
      const entry = audit.entry(who, 'project.transfer', name, { to, from: project.owner });
      const result = await store.transferProject({ projectId: project.id, user: to, by: who.name, audit: entry });
      access.changed();
      if (result === 'no-user') throw noUser(to);
      return membership(project);
    },
  };
}

/** Passes the owner, as a person, and administrators. */
export function requireOwner(who: Principal, { name, owner }: Pick<ProjectRow, 'name' | 'owner'>): void {
  if (mayDo(who, 'admin')) return;
  requirePerson(who);
  if (who.user?.name === owner) return;
  throw new PilotageError(
    'forbidden',
    `the project '${name}' belongs to '${owner}', who decides about it, as administrators do: ask one of them`,
    { details: { needs: 'admin' } },
  );
}

/** Names that the server gives itself. */
function refuseReserved(who: Principal, name: string): void {
  if (name.startsWith('@'))
    throw new PilotageError(
      'bad-request',
      `names that begin with '@' are for what comes from elsewhere: take another one`,
    );
  if (isAdministrator(who) || (name !== 'pilots' && !name.includes('@'))) return;
  throw new PilotageError('forbidden', `projects called like '${name}' are the server's own: take another name`);
}

function noUser(name: string): PilotageError {
  return new PilotageError(
    'not-found',
    `there is no user '${name}': an administrator adds one with 'pilotage user add ${name}'`,
  );
}
