/** Who has had how much of late, and what administrators give: weights and limits. */
import { PilotageError } from '../../ground/base/errors.ts';
import { isAdministrator, type Principal, requireAdministrator, requireScope } from '../access/principal.ts';
import type { OwnerUsage } from '../store/verbs/owners.ts';
import { projectUsage } from './files.ts';
import type { Parts } from './parts.ts';
import { projectOf } from './projects.ts';

export interface ShareWish {
  readonly weight?: number | undefined;
  readonly runningLimit?: number | null | undefined;
  readonly storageLimit?: number | null | undefined;
}

export function shareActions(parts: Parts) {
  return {
    /** Administrators see all, others themselves. */
    async usage(who: Principal) {
      requireScope(who, 'read');
      const all = await listOwners(parts);
      return (isAdministrator(who) ? all : all.filter(({ name }) => name === who.name)).map(toView);
    },
    async setShare(who: Principal, name: string, wish: ShareWish) {
      requireAdministrator(who);
      const entry = parts.audit.entry(who, 'user.share', name, { ...wish });
      if ((await parts.store.setOwner({ name, ...wish, audit: entry })) === 'unknown') throw unknown(name);
      // Tasks that a limit held back may run now.
      parts.signals.queued();
      return toView((await listOwners(parts)).find((owner) => owner.name === name) ?? nothing(name));
    },
    async setProjectLimit(who: Principal, project: string, limit: number | null) {
      requireAdministrator(who);
      const { id } = await projectOf(parts, who, project);
      const entry = parts.audit.entry(who, 'project.limit', project, { running: limit });
      await parts.store.setRunningLimit({ projectId: id, limit, audit: entry });
      parts.signals.queued();
      return projectUsage(parts, who, project);
    },
  };
}

function listOwners({ store, settings }: Parts): Promise<OwnerUsage[]> {
  return store.listOwners({ halfLifeMs: settings.halfLifeMs });
}

function nothing(name: string): OwnerUsage {
  const none = { slotSeconds: 0, slots: 0, tasks: 0, runningLimit: null, storageLimit: null, storedBytes: 0 };
  return { name, weight: 1, ...none };
}

function toView({ slotSeconds, slots, tasks, ...owner }: OwnerUsage) {
  return {
    ...owner,
    cpuSeconds: Math.max(0, slotSeconds),
    runningTasks: Math.max(0, tasks),
    runningCpus: Math.max(0, slots),
  };
}

function unknown(name: string): PilotageError {
  return new PilotageError(
    'not-found',
    `there is neither a user '${name}' nor a token of that name that is nobody's: 'pilotage user list' and 'pilotage token list' show those there are`,
  );
}
