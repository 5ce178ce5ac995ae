/** Actions of the pool that are written into the audit log once they are done. */
import { PilotageError } from '../../ground/base/errors.ts';
import { type Principal, requireAdministrator } from '../access/principal.ts';
import * as files from './files.ts';
import { forgetSubmissions } from './forget.ts';
import { cancelLink, type LinkFacts } from './linked-jobs.ts';
import type { Parts } from './parts.ts';
import * as pilots from './pilots.ts';
import * as projectUsers from './project-user.ts';
import * as selection from './selection.ts';
import { type WishFacts, wishJobs } from './service-jobs.ts';

export function notedActions(parts: Parts) {
  const { audit } = parts;
  /** For what may come to nothing: only what changed is written down. */
  const counted = async (who: Principal, action: string, which: selection.SelectionFacts, act: Promise<number>) => {
    const changed = await act;
    if (changed > 0) await audit.note(who, action, nameOf(which), { changed });
    return changed;
  };
  return {
    cancel: (who: Principal, which: selection.SelectionFacts) =>
      counted(who, 'task.cancel', which, selection.cancelTasks(parts, who, which)),
    retry: (who: Principal, which: selection.SelectionFacts) =>
      counted(who, 'task.retry', which, selection.retryTasks(parts, who, which)),
    forget: (who: Principal, which: selection.SelectionFacts) =>
      counted(who, 'task.forget', which, forgetSubmissions(parts, who, which)),
    async acceptLate(who: Principal, id: string, attempt: number | undefined) {
      const task = await selection.acceptLate(parts, who, id, attempt);
      await audit.note(who, 'task.accept', id);
      return task;
    },
    async wishJobs(who: Principal, project: string, facts: WishFacts) {
      const answer = await wishJobs(parts, who, project, facts);
      const { wished } = answer;
      if (wished.length > 0)
        await audit.note(who, `job.${facts.wish}`, project, { jobs: wished.slice(0, 20), changed: wished.length });
      return answer;
    },
    async cancelLink(link: LinkFacts, address: string) {
      await cancelLink(parts, link);
      const { project, number } = link;
      await audit.note({ name: 'link', how: 'secret link', address }, 'job.cancel', project, { jobs: [number] });
    },

    async setQuota(who: Principal, project: string, bytes: number | null) {
      const usage = await files.setQuota(parts, who, project, bytes);
      await audit.note(who, 'project.quota', project, { bytes });
      return usage;
    },
    async setTokenLimits(who: Principal, project: string, wish: projectUsers.TokenLimitsWish) {
      const limits = await projectUsers.setTokenLimits(parts, who, project, wish);
      await audit.note(who, 'project.token-limits', project, { ...wish });
      return limits;
    },

    async setPilots(who: Principal, site: string, settings: pilots.PilotSettingsFacts) {
      const view = await pilots.setPilots(parts, who, site, settings);
      const { max, slots, projects = null } = settings;
      await audit.note(who, 'pilots.set', site, { max, slots, projects });
      return view;
    },
    async pausePilots(who: Principal, site: string, paused: boolean) {
      const view = await pilots.pausePilots(parts, who, site, paused);
      await audit.note(who, paused ? 'pilots.pause' : 'pilots.resume', site);
      return view;
    },
    async removePilots(who: Principal, site: string) {
      await pilots.removePilots(parts, who, site);
      await audit.note(who, 'pilots.remove', site);
    },

    async instruct(who: Principal, names: readonly string[] | null, instruction: 'drain' | 'stop') {
      const workers = await instruct(parts, who, names, instruction);
      if (workers > 0) await audit.note(who, `workers.${instruction}`, names?.join(' ') ?? 'all', { workers });
      return workers;
    },
  };
}

function nameOf({ targets, project }: selection.SelectionFacts): string {
  if (targets && targets.length > 0) return targets.slice(0, 20).join(' ') + (targets.length > 20 ? ' …' : '');
  return project === undefined ? 'all' : `all of ${project}`;
}

async function instruct(
  parts: Parts,
  who: Principal,
  names: readonly string[] | null,
  instruction: 'drain' | 'stop',
): Promise<number> {
  requireAdministrator(who);
  const sessions = await parts.store.instructWorkers({ names, instruction });
  if (sessions.length === 0 && names !== null)
    throw new PilotageError(
      'not-found',
      `no worker that is alive is called ${names.join(', ')}: 'pilotage workers' shows those there are`,
    );
  for (const session of sessions) parts.signals.session(session);
  return sessions.length;
}
