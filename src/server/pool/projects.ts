import { PilotageError } from '../../ground/base/errors.ts';
import { mayEnter, type Principal, requireProject } from '../access/principal.ts';
import { IMPORTING, type ProjectRow } from '../store/verbs/projects.ts';
import type { Parts } from './parts.ts';

/** The project of that name, if it is there and the principal may enter it. */
export async function projectOf(parts: Parts, principal: Principal, name: string): Promise<ProjectRow> {
  requireProject(principal, name);
  const found = await findProject(parts, name);
  if (!found)
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

/** Ids of the projects that the principal may see, narrowed to one; null is all. */
export async function visibleProjects(
  parts: Parts,
  principal: Principal,
  only: string | undefined,
): Promise<number[] | null> {
  if (only !== undefined) return [(await projectOf(parts, principal, only)).id];
  if (principal.projects === null) return null;
  return (await parts.store.listProjects())
    .filter((project) => mayEnter(principal, project.name))
    .map((project) => project.id);
}
