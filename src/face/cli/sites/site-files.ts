/** Where sites are described. */
import { existsSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { PilotageError } from '../../../ground/base/errors.ts';
import type { CliContext } from '../context.ts';

/** What to look at: `--sites` or PILOTAGE_SITES names the only file, which is then as good as the user's. */
export type SitesContext = Pick<CliContext, 'env' | 'cwd'>;

export type Owner = 'user' | 'installation';

export interface SitesFiles {
  readonly user: string;
  readonly installation: string;
  /** No other file counts. */
  readonly isOnly: boolean;
}

/** Replaced in tests, and where an installation keeps its files elsewhere, by PILOTAGE_INSTALLATION_SITES. */
const INSTALLATION = '/etc/pilotage/sites.yaml';

export function sitesFiles({ env, cwd }: SitesContext, named?: string): SitesFiles {
  const only = named ?? (env.PILOTAGE_SITES || undefined);
  return {
    user: only === undefined ? path.join(userDirectory(env), 'sites.yaml') : path.resolve(cwd, only),
    installation: env.PILOTAGE_INSTALLATION_SITES || INSTALLATION,
    isOnly: only !== undefined,
  };
}

/** `~/.config/pilotage`. */
export function userDirectory(env: CliContext['env']): string {
  return path.join(env.XDG_CONFIG_HOME || path.join(homeOf(env), '.config'), 'pilotage');
}

/** `~` and `~/…` are the home directory; what is relative begins at `base`. */
export function toPath(text: string, env: CliContext['env'], base: string): string {
  return path.resolve(base, text === '~' || text.startsWith('~/') ? `${homeOf(env)}${text.slice(1)}` : text);
}

/** Which file counts: the user's, as a whole, if it is there. Undefined: there is none. */
export function ownerThatCounts(files: SitesFiles): Owner | undefined {
  if (existsSync(files.user)) return 'user';
  if (files.isOnly)
    throw new PilotageError(
      'not-found',
      `there is no file '${files.user}' with sites: correct --sites or PILOTAGE_SITES`,
    );
  return existsSync(files.installation) ? 'installation' : undefined;
}

function homeOf(env: CliContext['env']): string {
  return env.HOME || os.homedir();
}
