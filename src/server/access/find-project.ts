import { PilotageError } from '../../ground/base/errors.ts';
import type { Store } from '../store/store.ts';
import type { ProjectRow } from '../store/verbs/projects.ts';
import { type Principal, requireProject } from './principal.ts';

/** The project of that name, if it is there and the principal may enter it. */
export async function findProject(
  store: Pick<Store, 'listProjects'>,
  principal: Principal,
  name: string,
): Promise<ProjectRow> {
  requireProject(principal, name);
  const found = (await store.listProjects()).find((project) => project.name === name);
  if (!found)
    throw new PilotageError(
      'not-found',
      `there is no project '${name}': 'pilotage project list' shows those there are, 'pilotage project create ${name}' makes it`,
    );
  return found;
}
