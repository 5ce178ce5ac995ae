/** What `run` returns: what has to be computed, and where. Plain data: it travels, and outlives the process. */

/** Durations as `1h30m` or seconds, sizes as `2GiB` or bytes. */
export interface Command {
  readonly command: readonly string[];
  /** Files, directories and patterns of the job's directory; all of it unless given. Of an array at a site they may hold `{index}`. */
  readonly inputs?: readonly string[];
  /** Patterns of files that come back into the job's directory; of an array into a directory for each index. `name?` may be missing. */
  readonly outputs?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** One task for each index: `1-10`, `0-90:10`, `1,3,5`. The command sees `{index}` and PILOTAGE_ARRAY_INDEX. */
  readonly array?: string;
  readonly cpus?: number;
  readonly memory?: string | number;
  readonly gpus?: number;
  readonly timeLimit?: string | number;
  /** Failed tasks are run so often again. */
  readonly retries?: number;
}

export interface AtSite extends Command {
  /** As in `pilotage site list`. */
  readonly name: string;
  readonly machine?: string;
  readonly user?: string;
  /** `shared`: the site sees the job's directory under the same name, and nothing is copied. */
  readonly files?: 'sent' | 'shared';
  /** Options in the words of its batch system: a line each, as in `--partition=long` or `-q long.q`. */
  readonly batch?: { readonly scheduler: 'slurm' | 'grid-engine'; readonly options: readonly string[] };
}

export interface BatchScript {
  readonly scheduler: 'slurm' | 'grid-engine';
  /** The site, as in `pilotage site list`. */
  readonly site: string;
  /** Run by `sh`, or by what its first line names. Its last command's failure is its failure. */
  readonly text: string;
  /** As for `sbatch` or `qsub`: `--time=1:00:00 --mem=2G --partition=long`, `-l h_rt=3600 -pe smp 4 -q long.q`. */
  readonly options?: string | readonly string[];
  readonly array?: string;
  readonly inputs?: readonly string[];
  readonly outputs?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly files?: 'sent' | 'shared';
}

export type Runner =
  | { readonly runner: 'pool'; readonly commands: readonly Command[] }
  | { readonly runner: 'site'; readonly commands: readonly AtSite[] }
  | { readonly runner: 'script'; readonly script: BatchScript }
  | { readonly runner: 'nothing' };

/** Commands for the workers of the pool, side by side. */
export function pool(commands: Command | readonly Command[]): Runner {
  return { runner: 'pool', commands: listOf(commands) };
}

/** Commands at a site, as `pilotage job run --site` sends them. */
export function site(commands: AtSite | readonly AtSite[]): Runner {
  return { runner: 'site', commands: listOf(commands) };
}

/** A script at a Slurm or Grid Engine site. */
export function script(batch: BatchScript): Runner {
  return { runner: 'script', script: batch };
}

/** There is nothing to wait for. */
export function nothing(): Runner {
  return { runner: 'nothing' };
}

function listOf<T extends object>(one: T | readonly T[]): readonly T[] {
  return Array.isArray(one) ? one : [one as T];
}
