/**
 * Which options of the batch system a site's jobs get. What is the user's goes before what is the installation's; of
 * each, the file that the site names, then `queue-options/<site>` beside its owner's sites, then the site's own lines.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { messageOf, PilotageError, systemCode } from '../../../ground/base/errors.ts';
import type { SiteConfig } from '../../../ground/protocol/site.ts';
import { type Owner, type SitesContext, type SitesFiles, toPath, userDirectory } from './site-files.ts';

export interface QueueOptions {
  readonly lines: readonly string[];
  /** Where they were found; undefined: in the site itself, or nowhere. */
  readonly file?: string;
}

export function queueOptionsOf(
  config: SiteConfig,
  { context, files, owner }: { context: SitesContext; files: SitesFiles; owner: Owner },
): QueueOptions {
  const own = (): QueueOptions | undefined =>
    namedFile(config, context, files[owner]) ??
    beside(owner === 'user' ? userDirectory(context.env) : path.dirname(files.installation), config.name) ??
    (config.queueOptions && { lines: config.queueOptions });
  const byUser = (): QueueOptions | undefined => beside(userDirectory(context.env), config.name);
  const byInstallation = (): QueueOptions | undefined => beside(path.dirname(files.installation), config.name);
  const found = owner === 'user' ? (own() ?? byInstallation()) : (byUser() ?? own());
  return found ?? { lines: [] };
}

function namedFile(
  { name, queueOptionsFile }: SiteConfig,
  { env }: SitesContext,
  sites: string,
): QueueOptions | undefined {
  if (queueOptionsFile === undefined) return undefined;
  const file = toPath(queueOptionsFile, env, path.dirname(sites));
  const lines = readLines(file);
  if (lines) return { lines, file };
  throw new PilotageError(
    'bad-request',
    `the site '${name}' names '${file}' as its queueOptionsFile, and there is no such file: make it, or correct the site`,
  );
}

function beside(directory: string, site: string): QueueOptions | undefined {
  const file = path.join(directory, 'queue-options', site);
  const lines = readLines(file);
  return lines && { lines, file };
}

/** Comments and blank lines are left out; a line of a batch script (`#SBATCH …`, `#$ …`) counts as what it says. */
function readLines(file: string): string[] | undefined {
  const text = readIfThere(file);
  return text
    ?.split(/\r?\n/)
    .map((line) => line.replace(/^#(SBATCH|\$)\s+/, '').trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) return undefined;
    throw new PilotageError('bad-request', `the queue options '${file}' cannot be read: ${messageOf(error)}`, {
      cause: error,
    });
  }
}
