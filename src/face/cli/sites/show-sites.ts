import { existsSync } from 'node:fs';
import { messageOf, PilotageError } from '../../../ground/base/errors.ts';
import { toSite } from '../../../ground/protocol/site.ts';
import type { SiteUse } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { formatTable, plural } from '../table.ts';
import { placeOfAgent } from './agent-place.ts';
import { sayWhatAgentMisses } from './changed-since.ts';
import { describeSite, SITE_COLUMNS } from './describe-site.ts';
import { getConfig, type LoadedSites, loadSites, loadSitesOf, type ResolvedSite, resolveSite } from './load-sites.ts';
import { sitesFiles } from './site-files.ts';

/** Which file is meant; the one that counts unless one is said. */
export interface ShownFile {
  readonly sites?: string;
  readonly user?: boolean | string;
  readonly installation?: boolean;
}

export async function listSites(invocation: Invocation, options: ShownFile): Promise<number> {
  const loaded = load(invocation, options);
  if (!loaded) {
    await invocation.say(noFile(invocation, options));
    await invocation.printList([], () => '');
    return EXIT.done;
  }
  const sites = loaded.configs.map((config) => toSite(config));
  const { file, owner } = loaded;
  await invocation.printList(
    sites.map((site) => ({ ...site, file, owner })),
    () => (sites.length === 0 ? '' : formatTable(SITE_COLUMNS, sites)),
  );
  await invocation.say(whichCounts(loaded, options));
  await sayWhatAgentMisses(invocation);
  return EXIT.done;
}

export async function showSite(invocation: Invocation, options: ShownFile, name: string): Promise<number> {
  const { loaded, ...resolved } = getSite(invocation, options, name);
  const use = await useOf(invocation, name);
  const { file, owner } = loaded;
  const { site, queueOptions } = resolved;
  const value = { ...site, file, owner, queueOptionsFile: queueOptions.file ?? null, use: use ?? null };
  await invocation.print(value, () => describeSite(resolved, loaded, use));
  if (use) await sayWhatAgentMisses(invocation);
  return EXIT.done;
}

/** Throws when there is no such site. */
export function getSite(
  invocation: Invocation,
  options: ShownFile,
  name: string,
): ResolvedSite & { readonly loaded: LoadedSites } {
  const loaded = load(invocation, options);
  if (!loaded) throw new PilotageError('not-found', noFile(invocation, options));
  return { ...resolveSite(loaded, getConfig(loaded, name)), loaded };
}

function load({ context }: Invocation, options: ShownFile): LoadedSites | undefined {
  const user = options.user === true;
  if (user && options.installation) throw new PilotageError('bad-request', 'give --user or --installation, not both');
  if (!user && !options.installation) return loadSites(context, options.sites);
  const files = sitesFiles(context, options.sites);
  const owner = user ? 'user' : 'installation';
  return existsSync(files[owner]) ? loadSitesOf(context, files, owner) : undefined;
}

function noFile({ context }: Invocation, { sites, user, installation }: ShownFile): string {
  const files = sitesFiles(context, sites);
  const add = "'pilotage site add NAME --mechanism ssh --machine HOST' describes one";
  if (user === true) return `there is no '${files.user}': ${add}`;
  if (installation) return `there is no '${files.installation}': the installation describes no sites`;
  return `no sites are described, neither in '${files.user}' nor in '${files.installation}': ${add}`;
}

/** Says which file was read, whether it counts, and that there is another. */
function whichCounts({ files, owner, file, configs }: LoadedSites, options: ShownFile): string {
  const read = `${plural(configs.length, 'site')} in ${file}`;
  if (files.isOnly && owner === 'user') return `${read}, which was named: no other file counts`;
  const hasUser = existsSync(files.user);
  if (owner === 'installation')
    return hasUser
      ? `${read} (the installation's), which does not count: yours does, ${files.user}. 'pilotage site adopt' takes it over`
      : `${read} (the installation's)`;
  const other = existsSync(files.installation) && options.installation !== true;
  return `${read} (yours)${other ? `; the installation's does not count beside it: 'pilotage site list --installation' shows it` : ''}`;
}

/** Undefined: no agent answers. */
async function useOf(invocation: Invocation, name: string): Promise<readonly SiteUse[] | undefined> {
  try {
    const use = await invocation.context.askAgent.use(placeOfAgent(invocation, undefined));
    return use.filter(({ site }) => site === name);
  } catch (error) {
    if ((invocation.options.verbose ?? 0) > 0) await invocation.say(messageOf(error));
    return undefined;
  }
}
