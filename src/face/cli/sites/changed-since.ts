import { PilotageError } from '../../../ground/base/errors.ts';
import type { Site } from '../../../ground/protocol/site.ts';
import type { AgentSites } from '../context.ts';
import type { Invocation } from '../invocation.ts';
import { placeOfAgent } from './agent-place.ts';
import { loadSites, resolveSite } from './load-sites.ts';
import type { SitesContext } from './site-files.ts';

/** Says what an agent that runs does not know yet: it reads its sites once, when it is started. */
export async function sayWhatAgentMisses(invocation: Invocation, directory?: string): Promise<void> {
  try {
    const had = await invocation.context.askAgent.sites(placeOfAgent(invocation, directory));
    const names = changedSince(had, invocation.context);
    if (names.length > 0)
      await invocation.say(
        `the agent that runs was started before ${names.join(', ')} changed in ${had.file}: start it anew to make that count; its jobs go on meanwhile`,
      );
  } catch {
    // No agent answers, or none that can tell, or the file cannot be read: others say that.
  }
}

/** Names of the sites that are new, described otherwise, or gone. None where the agent has another file than counts here. */
export function changedSince({ file, sites }: AgentSites, context: SitesContext): string[] {
  const loaded = loadSites(context);
  if (loaded?.file !== file) return [];
  const now = new Map(
    loaded.configs.map((config) => [config.name, resolvedText(() => resolveSite(loaded, config).site)]),
  );
  const before = new Map(sites.map((site) => [site.name, JSON.stringify(site)]));
  return [...new Set([...before.keys(), ...now.keys()])].filter((name) => before.get(name) !== now.get(name));
}

/** One that cannot be used the agent left out as well. */
function resolvedText(resolve: () => Site): string | undefined {
  try {
    return JSON.stringify(resolve());
  } catch (error) {
    if (error instanceof PilotageError) return undefined;
    throw error;
  }
}
