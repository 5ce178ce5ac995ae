import path from 'node:path';
import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import { MECHANISMS, type SiteConfig } from '../../../ground/protocol/site.ts';
import { defined } from '../defined.ts';
import { hintOf } from '../nearest.ts';
import { SEVERAL } from '../option-sources.ts';
import { collect, duration, wholeNumber } from '../option-values.ts';
import { SITE_KEYS } from './read-sites.ts';

/** Every key of a site as an option. */
export interface SiteFlags {
  readonly mechanism?: string;
  readonly transport?: string;
  readonly scheduler?: string;
  readonly staging?: string;
  readonly machine?: readonly string[];
  readonly userExtensible?: boolean;
  readonly user?: string;
  readonly programDirectory?: string;
  readonly temporaryDirectory?: string;
  readonly queueOption?: readonly string[];
  readonly queueOptionsFile?: string;
  readonly setup?: readonly string[];
  readonly sshConfig?: string;
  readonly timeout?: string;
  readonly tries?: number;
}

export function withSiteFlags(command: Command): Command {
  return command
    .option('--mechanism <name>', `one word for the next three: ${Object.keys(MECHANISMS).join(', ')}`)
    .option('--transport <kind>', 'how its machines are reached: local or ssh')
    .option('--scheduler <kind>', 'what is spoken to there: process, slurm or grid-engine')
    .option('--staging <kind>', 'how files get there: shared (the same names on both sides) or archive')
    .option('--machine <host>', `a host name, or an alias of your SSH configuration ${SEVERAL}`, collect)
    .option('--user-extensible', 'a job may name another machine')
    .option('--no-user-extensible', 'a job may not')
    .option('--user <name>', 'who logs in there; as ssh decides unless given')
    .option('--program-directory <dir>', 'where the programs are on the machines')
    .option('--temporary-directory <dir>', 'below which jobs have their directories there; /tmp unless given')
    .option('--queue-option <text>', `for sbatch or qsub, as in '--partition=long' ${SEVERAL}`, collect)
    .option('--queue-options-file <file>', 'a file with such options, one or more to a line')
    .option('--setup <line>', `a shell line before each program, as in 'module load ccp4' ${SEVERAL}`, collect)
    .option('--ssh-config <file>', 'in place of ~/.ssh/config')
    .option('--timeout <duration>', 'how long a connection may take; 20s unless given', checkedDuration)
    .option('--tries <n>', 'how often a connection is tried; 2 unless given', wholeNumber(1));
}

/** Names of files begin at `cwd`, since whoever wrote them stands there; the file of sites may be elsewhere. */
export function toConfig(flags: SiteFlags, cwd: string): Partial<SiteConfig> {
  const { machine, queueOption, ...rest } = flags;
  const whole = (file: string | undefined): string | undefined =>
    file === undefined || /^~(\/|$)/.test(file) ? file : path.resolve(cwd, file);
  const picked = Object.fromEntries(Object.entries(rest).filter(([key]) => (SITE_KEYS as string[]).includes(key)));
  return defined({
    ...picked,
    machines: machine,
    queueOptions: queueOption,
    queueOptionsFile: whole(flags.queueOptionsFile),
    sshConfig: whole(flags.sshConfig),
  }) as Partial<SiteConfig>;
}

/** A mechanism says what these say one by one: setting the one takes the others away. */
export function replacedBy(set: Partial<SiteConfig>): readonly (keyof SiteConfig)[] {
  if (set.mechanism !== undefined) return ['transport', 'scheduler', 'staging'];
  const isSplit = set.transport !== undefined || set.scheduler !== undefined || set.staging !== undefined;
  return isSplit ? ['mechanism'] : [];
}

/** For `--unset`. */
export function collectKeys(
  text: string,
  before: readonly (keyof SiteConfig)[] | undefined,
): readonly (keyof SiteConfig)[] {
  const key = SITE_KEYS.find((one) => one === text && one !== 'name');
  if (key === undefined) throw new InvalidArgumentError(`There is no key '${text}'${hintOf(text, SITE_KEYS)}.`);
  return [...(before ?? []), key];
}

/** Kept as it was written. */
function checkedDuration(text: string): string {
  duration(text);
  return text;
}
