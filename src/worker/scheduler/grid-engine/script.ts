import { enterLines, optionLines } from '../directives.ts';
import type { BatchJob } from '../scheduler.ts';

/** What a site calls its resources: Grid Engine leaves the names to those who set it up. */
export interface GridEngineNames {
  /** For jobs of more than one cpu: a parallel environment that keeps them on one host. */
  readonly parallelEnvironment: string;
  /** Counted per slot. */
  readonly memoryResource: string;
  readonly gpuResource: string;
}

/**
 * Words of ours that the site may change, the site's, then what this job asks for: the later line wins. qsub has no way
 * to name a directory with a newline in it, and takes `:`, `,` and `$` in a file's name for something else (8.1.9), so
 * the job starts in / and goes to its directory by itself.
 */
export function gridEngineScript(job: BatchJob, names: GridEngineNames): string {
  const directives = [
    // Queues may be set to start every script with csh.
    '#$ -S /bin/sh',
    '#$ -wd /',
    // A host that fails must not start a job a second time under the same id.
    '#$ -r n',
    '#$ -m n',
    ...optionLines(job.options, '#$', UNFIT),
    ...resourceLines(job, names),
  ];
  return `#!/bin/sh\n${directives.join('\n')}\n\n${enterLines(job).join('\n')}\n\n${job.body}\n`;
}

const UNFIT = /(^|\s)(-t\s|-sync\s+y)/;

function resourceLines(job: BatchJob, names: GridEngineNames): string[] {
  const slots = Math.max(1, Math.ceil(job.cpus ?? 1));
  return [
    job.wallTimeSeconds && `-l h_rt=${Math.ceil(job.wallTimeSeconds)}`,
    slots > 1 && !hasEnvironment(job, slots) && `-pe ${names.parallelEnvironment} ${slots}`,
    job.memoryBytes && `-l ${names.memoryResource}=${Math.ceil(job.memoryBytes / slots / 1024)}K`,
    job.gpus && `-l ${names.gpuResource}=${job.gpus}`,
  ].flatMap((option) => (option ? [`#$ ${option}`] : []));
}

/** A job may say which parallel environment its slots are to be in. */
function hasEnvironment({ options }: BatchJob, slots: number): boolean {
  return options.some((line) => new RegExp(`^\\s*(#\\$\\s*)?-pe\\s+\\S+\\s+${slots}\\s*$`).test(line));
}

/** They beat directives: the job is found by its name, whatever a site's own settings say. */
export function submitArguments(job: BatchJob): string[] {
  return ['-terse', '-N', job.name, '-o', '/dev/null', '-e', '/dev/null', '-j', 'n'];
}
