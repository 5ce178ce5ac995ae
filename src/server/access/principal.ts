import { PilotageError } from '../../ground/base/errors.ts';
import type { TaskKey } from '../../ground/base/task-id.ts';
import type { TokenKind } from '../store/verbs/tokens.ts';
import type { Role } from '../store/verbs/users.ts';

export type Scope = 'admin' | 'submit' | 'read' | 'work' | 'front';

/** Who asks, and what they may do. `projects` null is all of them. */
export interface Principal {
  /** The user's, or that of a token that is nobody's. */
  readonly name: string;
  readonly tokenId: number;
  readonly scopes: readonly Scope[];
  readonly projects: readonly string[] | null;
  /** By what they are known; not set where the server acts for somebody whom it knows in another way. */
  readonly token?: {
    readonly kind: TokenKind;
    readonly name: string;
    /** Milliseconds since 1970; null: until it is revoked. */
    readonly expiresAt: number | null;
  };
  /** Set for a user: with a session, or with a token of theirs. */
  readonly user?: { readonly name: string; readonly role: Role };
  /** Where the request came from. */
  readonly address?: string;
  /** Set for the program of a running task, which has a credential of its own. */
  readonly task?: TaskKey;
  /** The task is borrowed from a neighbour: what its program asks is asked there. */
  readonly isBorrowed?: boolean;
  /** Set for a pilot: the submission that it came as. */
  readonly pilot?: number;
  /** Set for a neighbour, which asks over its link: its id, and the projects whose tasks it may have. */
  readonly peer?: { readonly id: string; readonly projectIds: readonly number[] };
}

/** What a session of a regular user may do in the user's projects. */
export const REGULAR: readonly Scope[] = ['submit', 'read', 'work', 'front'];

/** Passes, or says which token would be needed. */
export function requireScope(principal: Principal, scope: Scope): void {
  if (mayDo(principal, scope)) return;
  throw new PilotageError('forbidden', whyNot(principal, scope), { details: { needs: scope } });
}

function whyNot({ name, scopes, token, user }: Principal, scope: Scope): string {
  if (scope === 'admin' && user?.role === 'regular')
    return `'${name}' is a regular user, and this takes an administrator: ask one of those of your server`;
  return `the token '${token?.name ?? name}' may ${scopes.join(', ') || 'do nothing'}, but this takes '${scope}': use another token, or have one made with 'pilotage token create --scope ${scope}'`;
}

export function mayDo(principal: Principal, scope: Scope): boolean {
  return (
    principal.scopes.includes('admin') ||
    principal.scopes.includes(scope) ||
    ((scope === 'read' || scope === 'front') && principal.scopes.includes('submit'))
  );
}

/** Whoever manages people may everything everywhere: a token for one project may not, whatever its scopes. */
export function requireAdministrator(principal: Principal): void {
  requireScope(principal, 'admin');
  if (!isAdministrator(principal))
    throw new PilotageError(
      'forbidden',
      `the token '${principal.token?.name ?? principal.name}' is for some projects only, and this concerns all: use another token`,
      { details: { needs: 'admin' } },
    );
}

export function isAdministrator(principal: Principal): boolean {
  return principal.scopes.includes('admin') && principal.projects === null;
}

/** What a program's token is not for: passing access on, and changing what belongs to a person. */
export function requirePerson(principal: Principal): void {
  if (isAdministrator(principal) || principal.token?.kind === 'session') return;
  throw new PilotageError(
    'forbidden',
    `a person does this, not the token '${principal.token?.name ?? principal.name}': log in with 'pilotage login'`,
    { details: { needs: 'person' } },
  );
}

export function mayEnter(principal: Principal, project: string): boolean {
  return principal.projects === null || principal.projects.includes(project);
}

/** Has something been taken from somebody since they came? */
export function mayLess(now: Principal, before: Principal): boolean {
  if (before.scopes.some((scope) => !mayDo(now, scope))) return true;
  if (before.projects === null) return now.projects !== null;
  return before.projects.some((project) => !mayEnter(now, project));
}

/** What is in another project is not there: the answer does not tell whether it exists. */
export function requireProject(principal: Principal, project: string): void {
  if (mayEnter(principal, project)) return;
  if (project === 'default' && principal.user && principal.projects?.length)
    throw new PilotageError(
      'not-found',
      `there is no project 'default' for '${principal.name}': say which one with --project or PILOTAGE_PROJECT, as '${principal.projects[0]}'`,
    );
  const whom = principal.user ? `'${principal.name}'` : `the token '${principal.token?.name ?? principal.name}'`;
  throw new PilotageError(
    'not-found',
    `there is no project '${project}' for ${whom}: 'pilotage project list' shows those there are`,
  );
}

/** The project that is meant where none is named. */
export function usualProject({ projects, user }: Principal): string {
  if (projects === null || projects.length === 0) return 'default';
  if (!user || projects.length === 1) return projects[0] ?? 'default';
  if (projects.includes('default')) return 'default';
  throw new PilotageError(
    'bad-request',
    `'${user.name}' has several projects (${projects.slice(0, 5).join(', ')}): say which one with --project`,
  );
}

/** Of somebody, for people who read what happened. */
export function howKnown({ token, tokenId, task, pilot, peer }: Principal): string {
  if (peer) return `neighbour ${peer.id.slice(0, 16)}`;
  if (task) return `task ${task.submission}.${task.index}`;
  if (pilot !== undefined) return `pilot ${pilot}`;
  if (!token) return 'server';
  return token.kind === 'admin' ? 'admin token' : `${token.kind} ${tokenId}`;
}
