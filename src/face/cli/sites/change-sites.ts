import { existsSync } from 'node:fs';
import { PilotageError } from '../../../ground/base/errors.ts';
import type { SiteConfig } from '../../../ground/protocol/site.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { addSite, type EditedFile, editSite, removeSite, takeOver } from './edit-sites.ts';
import { loadSitesOf } from './load-sites.ts';
import { type Owner, ownerThatCounts, type SitesFiles, sitesFiles } from './site-files.ts';
import { replacedBy, type SiteFlags, toConfig } from './site-flags.ts';

interface Written {
  readonly sites?: string;
  readonly for?: string;
}

export async function add(invocation: Invocation, options: Written & SiteFlags, name: string): Promise<number> {
  const files = sitesFiles(invocation.context, options.sites);
  const target = targetOf(files, options, 'user');
  const isNew = target.owner === 'user' && !files.isOnly && !existsSync(files.user) && existsSync(files.installation);
  addSite(target, { name, ...toConfig(options, invocation.context.cwd) });
  await tell(
    invocation,
    target,
    `site ${name} is described in ${target.file}: 'pilotage site test ${name}' looks whether it works`,
  );
  if (isNew)
    await invocation.say(
      `your file counts from now on, as a whole: the sites of ${files.installation} are not known any more. 'pilotage site list --installation' shows them, 'pilotage site adopt' takes them over in place of yours`,
    );
  return EXIT.done;
}

interface EditOptions extends Written, SiteFlags {
  readonly rename?: string;
  readonly unset?: readonly (keyof SiteConfig)[];
}

export async function edit(invocation: Invocation, options: EditOptions, name: string): Promise<number> {
  const target = existing(invocation, options);
  const set = {
    ...toConfig(options, invocation.context.cwd),
    ...(options.rename === undefined ? {} : { name: options.rename }),
  };
  const unset = options.unset ?? [];
  if (Object.keys(set).length + unset.length === 0)
    throw new PilotageError('bad-request', 'what is to be changed? Give an option, as in --timeout 30s');
  editSite(target, name, { set, unset: [...unset, ...replacedBy(set)] });
  await tell(
    invocation,
    target,
    `site ${options.rename ?? name} is changed in ${target.file}; an agent that runs knows it when it is started anew`,
  );
  return EXIT.done;
}

export async function remove(
  invocation: Invocation,
  options: Written & { readonly last?: boolean },
  name: string,
): Promise<number> {
  const target = existing(invocation, options);
  const became = removeSite(target, name, options.last === true);
  const what = `site ${name} is removed from ${target.file}`;
  await tell(
    invocation,
    target,
    became === 'saved' ? what : `${what}, and the file with it: it is ${target.file}.bak now`,
  );
  return EXIT.done;
}

export async function adopt(invocation: Invocation, options: Written): Promise<number> {
  const { context } = invocation;
  const files = sitesFiles(context, options.sites);
  const to = targetOf(files, options, 'user');
  const owner: Owner = to.owner === 'user' ? 'installation' : 'user';
  const from = { file: files[owner], owner };
  if (!existsSync(from.file)) throw new PilotageError('not-found', `there is no '${from.file}' to take over`);
  loadSitesOf(context, files, owner);
  const hadOne = existsSync(to.file);
  const names = takeOver(from, to);
  await tell(
    invocation,
    to,
    `taken over into ${to.file}: ${names.join(', ') || 'no sites'}${hadOne ? `; what was there is ${to.file}.bak` : ''}`,
  );
  return EXIT.done;
}

/** What was done, for a person; which file, for a program. */
async function tell(invocation: Invocation, { file, owner }: EditedFile, text: string): Promise<void> {
  await invocation.print({ file, owner }, () => text);
}

/** The file that counts unless one is said. */
function existing({ context }: Invocation, options: Written): EditedFile {
  const files = sitesFiles(context, options.sites);
  return targetOf(files, options, options.for === undefined ? (ownerThatCounts(files) ?? 'user') : 'user');
}

function targetOf(files: SitesFiles, { for: whose }: Written, usual: Owner): EditedFile {
  if (whose !== undefined && whose !== 'user' && whose !== 'installation')
    throw new PilotageError('bad-request', `--for is 'user' or 'installation', not '${whose}'`);
  const owner = whose ?? usual;
  return { file: files[owner], owner };
}
