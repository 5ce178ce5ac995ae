import { findProject } from '../access/find-project.ts';
import { mayEnter, type Principal } from '../access/principal.ts';
import type { ProjectRow } from '../store/verbs/projects.ts';
import type { Parts } from './parts.ts';

/** The project of that name, if it is there and the principal may enter it. */
export async function projectOf(parts: Parts, principal: Principal, name: string): Promise<ProjectRow> {
  return findProject(parts.store, principal, name);
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
