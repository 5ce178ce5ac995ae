import { readFileSync } from 'node:fs';
import path from 'node:path';
import { messageOf, PilotageError } from '../../../ground/base/errors.ts';
import { type Site, type SiteConfig, toSite } from '../../../ground/protocol/site.ts';
import { hintOf } from '../nearest.ts';
import { type QueueOptions, queueOptionsOf } from './queue-options.ts';
import { readSites } from './read-sites.ts';
import { type Owner, ownerThatCounts, type SitesContext, type SitesFiles, sitesFiles, toPath } from './site-files.ts';

/** The sites of one file. */
export interface LoadedSites {
  readonly context: SitesContext;
  readonly files: SitesFiles;
  readonly owner: Owner;
  readonly file: string;
  readonly configs: readonly SiteConfig[];
}

/** A site as it is used, and where its queue options come from. */
export interface ResolvedSite {
  readonly site: Site;
  readonly config: SiteConfig;
  readonly queueOptions: QueueOptions;
}

/** The site of that name in the file that counts, ready for use. Undefined: there is none. Throws when the file is bad. */
export async function findSite(context: SitesContext, name: string, named?: string): Promise<Site | undefined> {
  const loaded = loadSites(context, named);
  const config = loaded?.configs.find((one) => one.name === name);
  return loaded && config && resolveSite(loaded, config).site;
}

/** The file that counts. Undefined: there is none. */
export function loadSites(context: SitesContext, named?: string): LoadedSites | undefined {
  const files = sitesFiles(context, named);
  const owner = ownerThatCounts(files);
  return owner && loadSitesOf(context, files, owner);
}

export function loadSitesOf(context: SitesContext, files: SitesFiles, owner: Owner): LoadedSites {
  const file = files[owner];
  const configs = readSites(readText(file), file).map(({ config }) => config);
  return { context, files, owner, file, configs };
}

/** Throws when there is no site of that name, with the nearest one. */
export function getConfig({ configs, file }: Pick<LoadedSites, 'configs' | 'file'>, name: string): SiteConfig {
  const config = configs.find((one) => one.name === name);
  if (config) return config;
  const hint = hintOf(
    name,
    configs.map((one) => one.name),
  );
  throw new PilotageError('not-found', `there is no site '${name}' in '${file}'${hint || ': it has none'}`);
}

/** With everything that its file leaves out or that is kept in other files. */
export function resolveSite(loaded: LoadedSites, config: SiteConfig): ResolvedSite {
  const queueOptions = queueOptionsOf(config, loaded);
  const site = toSite(config, queueOptions.lines);
  if (site.sshConfig === undefined) return { site, config, queueOptions };
  const sshConfig = toPath(site.sshConfig, loaded.context.env, path.dirname(loaded.file));
  return { site: { ...site, sshConfig }, config, queueOptions };
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new PilotageError('bad-request', `the sites in '${file}' cannot be read: ${messageOf(error)}`, {
      cause: error,
    });
  }
}
