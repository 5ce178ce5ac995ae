import type { Command } from 'commander';
import { formatDuration } from '../../../ground/base/duration.ts';
import type { PilotSettingsRequest, PilotsView } from '../../../ground/protocol/pilot.ts';
import { calls } from '../calls.ts';
import type { Define } from '../define.ts';
import { defined } from '../defined.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { SEVERAL } from '../option-sources.ts';
import { collect, collectCounts, collectList, collectPairs, duration, size, wholeNumber } from '../option-values.ts';
import { noteUnknownSite } from '../sites/note-unknown-site.ts';
import { type Column, formatTable, plural } from '../table.ts';

interface AtSite {
  readonly site: string;
}

interface Options extends AtSite {
  readonly max: number;
  readonly slots: number;
  readonly wallTime: number;
  readonly untilIdle: number;
  readonly memory?: number;
  readonly gpus?: number;
  readonly resource?: Readonly<Record<string, number>>;
  readonly label?: Readonly<Record<string, string>>;
  readonly zone?: string;
  readonly project?: readonly string[];
  readonly queueOption?: readonly string[];
  readonly reach?: string;
  readonly tunnel?: boolean;
  readonly directory?: string;
}

const CLIENTS = `
With a command a pilot runs that in place of our worker: a PiCaS pilot, say, which takes the tokens of --project by itself.`;

const SITE = "the site: 'pilotage site list' shows yours";

export function pilotsCommand(define: Define): Command {
  const of = (name: string, summary: string, act: (invocation: Invocation, at: AtSite) => Promise<number>): Command =>
    define(name, summary, act).requiredOption('--site <name>', SITE);
  const set = define('set', 'Say which pilots may come to a site when tasks wait', setPilots)
    .requiredOption('--site <name>', SITE)
    .requiredOption('--max <n>', 'at most so many pilots at once', wholeNumber())
    .requiredOption('--slots <n>', 'the cpus of each', wholeNumber(1))
    .requiredOption('--wall-time <duration>', 'what the batch system is asked for, as in 2h', duration)
    .option('--until-idle <duration>', 'a pilot leaves when there was nothing to do for so long', duration, 60)
    .option('--memory <size>', 'the memory of each; what the node has unless given', size)
    .option('--gpus <n>', 'the graphics processors of each', wholeNumber())
    .option('--resource <name=n>', `any other resource that each has ${SEVERAL}`, collectCounts)
    .option('--label <name=value>', `a label that tasks can ask for ${SEVERAL}`, collectPairs)
    .option('--zone <name>', 'where they stand: workers of one zone feed each other')
    .option('-p, --project <name>', `only for tasks of this project ${SEVERAL}`, collectList)
    .option(
      '--queue-option <text>',
      `for the batch system, besides the site's own, as in '-p long' ${SEVERAL}`,
      collect,
    )
    .option('--reach <url>', "the server's address as pilots reach it, if it is not the one that the agent dials")
    .option('--directory <dir>', 'where a program of your own is run, on the machine')
    .argument(
      '[command...]',
      'behind --: a program of your own, such as a PiCaS pilot, in place of our worker; with --project',
    )
    .option('--tunnel', 'pilots cannot reach the server: give them a port of the login node, through ssh')
    .usage('[OPTIONS] [-- COMMAND…]')
    .addHelpText('after', CLIENTS);
  return define('pilots', 'Workers that come to a site when tasks wait, and leave', list)
    .addCommand(define('list', 'Show the pilots of each site, and what is in the way', list))
    .addCommand(set)
    .addCommand(of('pause', 'Send no more pilots to a site for now', pause(true)))
    .addCommand(of('resume', 'Send pilots to a site again, also to one that rests after failures', pause(false)))
    .addCommand(of('remove', 'Send no pilots to a site any more; those at work go on to their end', remove));
}

async function setPilots(invocation: Invocation, options: Options): Promise<number> {
  const { site, max, slots, wallTime, untilIdle, memory, gpus, zone, tunnel } = options;
  const body: PilotSettingsRequest = {
    max,
    slots,
    wallTimeSeconds: wallTime,
    untilIdleSeconds: untilIdle,
    ...defined({
      memory,
      gpus,
      zone,
      tunnel,
      named: options.resource,
      labels: options.label,
      projects: options.project && [...options.project],
      queueOptions: options.queueOption && [...options.queueOption],
      serverUrl: options.reach,
      command: invocation.command && [...invocation.command],
      directory: options.directory,
    }),
  };
  const view = await invocation.client().call(calls.setPilots, { params: { site }, body });
  await noteUnknownSite(invocation, site, 'if no agent elsewhere serves it, no pilot will come');
  await invocation.print(view, () => describe(view));
  return EXIT.done;
}

async function list(invocation: Invocation): Promise<number> {
  const sites = await invocation.client().call(calls.pilots);
  await invocation.printList(sites, () => {
    if (sites.length === 0) return "no pilots are set for any site: 'pilotage pilots set' does that";
    const remarks = sites.flatMap(({ reasons }) => reasons.map((reason) => `- ${reason}`));
    return [formatTable(COLUMNS, sites), ...remarks].join('\n').trimEnd();
  });
  return EXIT.done;
}

function pause(paused: boolean) {
  return async (invocation: Invocation, { site }: AtSite): Promise<number> => {
    const view = await invocation.client().call(calls.pausePilots, { params: { site }, body: { paused } });
    await invocation.print(view, () => describe(view));
    return EXIT.done;
  };
}

async function remove(invocation: Invocation, { site }: AtSite): Promise<number> {
  await invocation.client().call(calls.removePilots, { params: { site } });
  await invocation.print({ site }, () => `no more pilots are sent to site '${site}'; those at work go on to their end`);
  return EXIT.done;
}

function describe(view: PilotsView): string {
  return [formatTable(COLUMNS, [view]).trimEnd(), ...view.reasons.map((reason) => `- ${reason}`)].join('\n');
}

const COLUMNS: Column<PilotsView>[] = [
  { title: 'SITE', of: ({ site }) => site },
  { title: 'STATE', of: ({ state }) => state },
  { title: 'MAX', of: ({ max }) => String(max), align: 'right' },
  { title: 'WANTED', of: ({ wanted }) => String(wanted), align: 'right' },
  { title: 'QUEUED', of: ({ queued }) => String(queued), align: 'right' },
  { title: 'PENDING', of: ({ pending }) => String(pending), align: 'right' },
  { title: 'WORKING', of: ({ working }) => String(working), align: 'right' },
  { title: 'ENDED TODAY', of: ({ endedToday: e }) => `${e.worked} well, ${e.failed} failed` },
  { title: 'EACH', of: ({ plan }) => `${plural(plan.slots, 'cpu')} for ${formatDuration(plan.wallTimeSeconds)}` },
];
