import { PilotageError } from '../../ground/base/errors.ts';
import type { TaskKey } from '../../ground/base/task-id.ts';

export type Scope = 'admin' | 'submit' | 'read' | 'work' | 'front';

/** Who asks, and what they may do. `projects` null is all of them. */
export interface Principal {
  readonly name: string;
  readonly tokenId: number;
  readonly scopes: readonly Scope[];
  readonly projects: readonly string[] | null;
  /** Set for the program of a running task, which has a credential of its own. */
  readonly task?: TaskKey;
  /** The task is borrowed from a neighbour: what its program asks is asked there. */
  readonly isBorrowed?: boolean;
  /** Set for a pilot: the submission that it came as. */
  readonly pilot?: number;
  /** Set for a neighbour, which asks over its link: its id, and the projects whose tasks it may have. */
  readonly peer?: { readonly id: string; readonly projectIds: readonly number[] };
}

/** Passes, or says which token would be needed. */
export function requireScope(principal: Principal, scope: Scope): void {
  if (mayDo(principal, scope)) return;
  throw new PilotageError(
    'forbidden',
    `the token '${principal.name}' may ${principal.scopes.join(', ')}, but this takes '${scope}': use another token, or have one made with 'pilotage token create --scope ${scope}'`,
  );
}

export function mayDo(principal: Principal, scope: Scope): boolean {
  return (
    principal.scopes.includes('admin') ||
    principal.scopes.includes(scope) ||
    ((scope === 'read' || scope === 'front') && principal.scopes.includes('submit'))
  );
}

export function mayEnter(principal: Principal, project: string): boolean {
  return principal.projects === null || principal.projects.includes(project);
}

/** What is in another project is not there: the answer does not tell whether it exists. */
export function requireProject(principal: Principal, project: string): void {
  if (mayEnter(principal, project)) return;
  throw new PilotageError(
    'not-found',
    `there is no project '${project}' for the token '${principal.name}': 'pilotage project list' shows those there are`,
  );
}
