import { formatDuration } from '../../../ground/base/duration.ts';
import type { Site } from '../../../ground/protocol/site.ts';
import type { SiteUse } from '../context.ts';
import { type Column, formatTable, printable } from '../table.ts';
import type { LoadedSites, ResolvedSite } from './load-sites.ts';

export const SITE_COLUMNS: Column<Site>[] = [
  { title: 'NAME', of: ({ name }) => name },
  { title: 'TRANSPORT', of: ({ transport }) => transport },
  { title: 'SCHEDULER', of: ({ scheduler }) => scheduler },
  { title: 'STAGING', of: ({ staging }) => staging },
  { title: 'MACHINES', of: machinesText },
];

export function describeSite(
  { site, queueOptions }: ResolvedSite,
  { file, owner }: Pick<LoadedSites, 'file' | 'owner'>,
  use: readonly SiteUse[] | undefined,
): string {
  const rows: [string, string][] = [
    ['site', site.name],
    ['file', `${file} (${owner === 'user' ? 'yours' : "the installation's"})`],
    ['transport', site.transport],
    ['scheduler', site.scheduler],
    ['staging', site.staging],
    ['machines', machinesText(site)],
    ['user', site.user ?? 'as ssh decides'],
    ['program directory', site.programDirectory ?? '-'],
    ['temporary directory', site.temporaryDirectory],
    ...lines('queue options', site.queueOptions),
    ...(queueOptions.file === undefined ? [] : ([['from', queueOptions.file]] as [string, string][])),
    ...lines('set-up', site.setup),
    ['ssh configuration', site.sshConfig ?? "ssh's own"],
    ['timeout', formatDuration(site.timeoutSeconds)],
    ['tries', String(site.tries)],
  ];
  const width = Math.max(...rows.map(([key]) => key.length));
  const text = rows.map(([key, value]) => `${key.padEnd(width)}  ${printable(value)}\n`).join('');
  if (use === undefined) return `${text}\nno agent of yours runs here for this server: nothing is known of its use\n`;
  return `${text}\n${use.length === 0 ? 'its machines have not been used yet\n' : useTable(use)}`;
}

/** How each machine is used by the agent. */
export function useTable(use: readonly SiteUse[]): string {
  return formatTable(USE, use);
}

const USE: Column<SiteUse>[] = [
  { title: 'SITE', of: ({ site }) => site },
  { title: 'MACHINE', of: ({ machine }) => machine },
  { title: 'JOBS', of: ({ jobs }) => String(jobs), align: 'right' },
  { title: 'CONNECTIONS', of: ({ connections }) => String(connections), align: 'right' },
  { title: 'COMMANDS', of: ({ commands }) => String(commands), align: 'right' },
  { title: 'TO SCHEDULER', of: ({ schedulerCommands }) => String(schedulerCommands), align: 'right' },
  { title: 'POLLS', of: ({ polls }) => String(polls), align: 'right' },
  { title: 'EVERY', of: ({ intervalMs }) => formatDuration(intervalMs / 1000), align: 'right' },
];

function machinesText({ machines, userExtensible }: Site): string {
  return [...machines, ...(userExtensible ? ['any other that a job names'] : [])].join(', ');
}

function lines(title: string, of: readonly string[]): [string, string][] {
  return of.length === 0 ? [[title, '-']] : of.map((line, at) => [at === 0 ? title : '', line]);
}
