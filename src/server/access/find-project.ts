import { PilotageError } from '../../ground/base/errors.ts';
import type { Store } from '../store/store.ts';
import { IMPORTING, type ProjectRow } from '../store/verbs/projects.ts';
import { type Principal, requireProject } from './principal.ts';

type ProjectFinder = Pick<Store, 'listProjects' | 'findImported'>;

/** The project of that name, if it is there and the principal may enter it. */
export async function findProject(store: ProjectFinder, principal: Principal, name: string): Promise<ProjectRow> {
  requireProject(principal, name);
  const found = await byName(store, name);
  if (!found || !maySee(principal, found))
    throw new PilotageError(
      'not-found',
      `there is no project '${name}': 'pilotage project list' shows those there are${name.startsWith('@') ? '' : `, 'pilotage project create ${name}' makes it`}`,
    );
  return found;
}

/** Also one that is being imported, for whoever imports it: nobody else knows its name. */
async function byName(store: ProjectFinder, name: string): Promise<ProjectRow | undefined> {
  if (name.startsWith(IMPORTING)) return (await store.findImported({ name })) ?? undefined;
  return (await store.listProjects()).find((project) => project.name === name);
}

/** What is borrowed is for administrators to see, and for those who carry it out. */
export function maySee({ scopes }: Principal, project: ProjectRow): boolean {
  return project.peer_id === null || scopes.includes('admin') || scopes.includes('work');
}
