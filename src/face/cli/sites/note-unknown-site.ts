import { messageOf } from '../../../ground/base/errors.ts';
import type { Site } from '../../../ground/protocol/site.ts';
import type { Invocation } from '../invocation.ts';
import { hintOf } from '../nearest.ts';
import { findSite, loadSites } from './load-sites.ts';

/**
 * The site of that name; undefined where it is not described on this machine, which is said, with what comes of it: the
 * server knows no sites, and an agent elsewhere may serve it. Throws when its description is bad.
 */
export async function findSiteOrNote(
  { context, say }: Invocation,
  name: string,
  consequence: string,
): Promise<Site | undefined> {
  const known = await findSite(context, name);
  if (known) return known;
  const hint = hintOf(name, loadSites(context)?.configs.map((one) => one.name) ?? []);
  await say(
    `note: no site '${name}' is known on this machine (${hint.slice(2) || "'pilotage site add' describes one"}); ${consequence}`,
  );
  return undefined;
}

/** For what is done already: bad descriptions are said too. */
export async function noteUnknownSite(invocation: Invocation, name: string, consequence: string): Promise<void> {
  await findSiteOrNote(invocation, name, consequence).catch((error: unknown) =>
    invocation.say(`note: whether there is a site '${name}' cannot be told: ${messageOf(error)}`),
  );
}
