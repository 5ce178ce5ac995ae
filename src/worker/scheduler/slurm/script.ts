import { optionLines } from '../directives.ts';
import type { BatchJob } from '../scheduler.ts';

/**
 * What is plain goes as directives: a word of ours that the site may change, the site's, then what this job asks for
 * (the later line wins). What may hold any character (name, directory, files) goes by `submitArguments`.
 */
export function slurmScript(job: BatchJob): string {
  const directives = [
    // A node that fails must not start a job a second time under the same id: who asked for it decides about that.
    '#SBATCH --no-requeue',
    '#SBATCH --nodes=1',
    '#SBATCH --ntasks=1',
    ...optionLines(job.options, '#SBATCH', UNFIT),
    ...resourceLines(job),
  ];
  return `#!/bin/sh\n${directives.join('\n')}\n\n${job.body}\n`;
}

const UNFIT = /(^|\s)(--array|-a|--wait|-W)(\s|=|\d|$)/;

function resourceLines(job: BatchJob): string[] {
  return [
    // Slurm counts whole minutes.
    job.wallTimeSeconds && `--time=${Math.ceil(job.wallTimeSeconds / 60)}`,
    job.cpus && `--cpus-per-task=${Math.ceil(job.cpus)}`,
    job.memoryBytes && `--mem=${Math.ceil(job.memoryBytes / 1024)}K`,
    job.gpus && `--gpus=${job.gpus}`,
  ].flatMap((option) => (option ? [`#SBATCH ${option}`] : []));
}

/** They beat directives and SBATCH_… variables: whatever a site sets, the job is found by its name. */
export function submitArguments(job: BatchJob): string[] {
  return [
    '--parsable',
    `--job-name=${job.name}`,
    `--chdir=${job.directory}`,
    `--output=${pattern(job.stdout)}`,
    `--error=${pattern(job.stderr)}`,
  ];
}

/**
 * A file's name as a pattern that stands for just itself. With a backslash anywhere Slurm replaces nothing and takes the
 * backslashes away (fname.c; seen with 22.05.8), without one a percent sign is doubled.
 */
function pattern(path: string): string {
  return path.includes('\\') ? path.replaceAll('\\', '\\\\') : path.replaceAll('%', '%%');
}
