import { PilotageError } from '../../ground/base/errors.ts';
import { mayEnter, type Principal, requireProject } from '../access/principal.ts';
import { IMPORTING, type ProjectRow } from '../store/verbs/projects.ts';
import type { Parts } from './parts.ts';

/** The project of that name, if it is there and the principal may enter it. */
export async function projectOf(parts: Parts, principal: Principal, name: string): Promise<ProjectRow> {
  requireProject(principal, name);
  const found = await findProject(parts, name);
  if (!found || !maySee(principal, found))
    throw new PilotageError(
      'not-found',
      `there is no project '${name}': 'pilotage project list' shows those there are, 'pilotage project create ${name}' makes it`,
    );
  return found;
}

/** Also one that is being imported, for whoever imports it: nobody else knows its name. */
async function findProject({ store }: Parts, name: string): Promise<ProjectRow | undefined> {
  if (name.startsWith(IMPORTING)) return (await store.findImported({ name })) ?? undefined;
  return (await store.listProjects()).find((project) => project.name === name);
}

/** Ids of the projects that the principal may see, narrowed to one; null is all. Borrowed ones have to be named. */
export async function visibleProjects(
  parts: Parts,
  principal: Principal,
  only: string | undefined,
): Promise<number[] | null> {
  if (only !== undefined) return [(await projectOf(parts, principal, only)).id];
  const all = await parts.store.listProjects();
  if (principal.projects === null && all.every((project) => project.peer_id === null)) return null;
  return all
    .filter((project) => mayEnter(principal, project.name) && project.peer_id === null)
    .map((project) => project.id);
}

/** What is borrowed is for administrators to see, and for those who carry it out. */
export function maySee({ scopes }: Principal, project: ProjectRow): boolean {
  return project.peer_id === null || scopes.includes('admin') || scopes.includes('work');
}
