import type { CheckSiteOptions } from '../face/cli/context.ts';
import type { SiteCheck } from '../ground/protocol/site-check.ts';
import { checkSite } from '../worker/agent/check-site.ts';
import { controlDirectory } from './control-directory.ts';

/** Looks whether a site's machines are fit for jobs. */
export function runCheckSite({ site, terminal, ...options }: CheckSiteOptions): Promise<SiteCheck> {
  return checkSite(site, {
    ...options,
    environment: process.env,
    controlDirectory: controlDirectory(),
    ask: terminal ?? (async () => undefined),
  });
}
