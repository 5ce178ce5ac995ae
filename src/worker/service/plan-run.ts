import { parseDuration } from '../../ground/base/duration.ts';
import { parseSize } from '../../ground/base/size.ts';
import { parseArrayRange } from '../../ground/protocol/array-range.ts';
import type { TaskSpec } from '../../ground/protocol/spec.ts';
import type { ArrayRange } from '../../ground/protocol/submission.ts';
import { toSiteCommand } from './batch-script.ts';
import type { AtSite, Command, Runner } from './runners.ts';

/** One submission, or one job at a site, that a run consists of. */
export interface PlannedStep {
  /** All but its inputs. */
  readonly spec: TaskSpec;
  readonly inputs: readonly string[] | undefined;
  readonly array: ArrayRange | undefined;
  /** Where its outputs go, below the job's directory. */
  readonly to: string;
  /** The site sees the job's directory: nothing is sent. */
  readonly isShared: boolean;
  /** Files that come besides, which are not in the job's directory. */
  readonly files: readonly { readonly name: string; readonly content: string }[];
}

export interface PlannedRun {
  readonly at: 'pool' | 'site';
  readonly steps: readonly PlannedStep[];
}

/** An array at a site is as many jobs there; more than so many belong into the pool, with pilots at the site. */
const MOST_AT_SITE = 1000;

/** The submissions of a runner; undefined when there is nothing to wait for. `directory` is the job's. */
export function planRun(runner: Runner, directory: string): PlannedRun | undefined {
  switch (runner.runner) {
    case 'nothing':
      return undefined;
    case 'pool':
      return { at: 'pool', steps: runner.commands.map(inPool) };
    case 'site':
      return { at: 'site', steps: limited(runner.commands.flatMap((command) => atSite(command, directory))) };
    case 'script': {
      const { command, file } = toSiteCommand(runner.script);
      return { at: 'site', steps: limited(atSite(command, directory).map((step) => ({ ...step, files: [file] }))) };
    }
  }
}

function inPool(command: Command): PlannedStep {
  const array = command.array === undefined ? undefined : parseArrayRange(command.array);
  return { spec: specOf(command), inputs: command.inputs, array, to: '.', isShared: false, files: [] };
}

function atSite(command: AtSite, directory: string): PlannedStep[] {
  const { name, machine, user, files, batch } = command;
  const isShared = files === 'shared';
  const where = {
    name,
    projectDirectory: directory,
    ...(machine === undefined ? {} : { machine }),
    ...(user === undefined ? {} : { user }),
    ...(batch === undefined ? {} : { batch: { scheduler: batch.scheduler, options: [...batch.options] } }),
  };
  const indices = command.array === undefined ? [undefined] : [...indicesOf(parseArrayRange(command.array))];
  return indices.map((index) => {
    const own = index === undefined ? command : withIndex(command, index);
    return {
      spec: { ...specOf(own), site: { ...where, ...(isShared ? { inputs: own.inputs?.slice() ?? [] } : {}) } },
      inputs: own.inputs,
      array: undefined,
      to: index === undefined ? '.' : String(index),
      isShared,
      files: [],
    };
  });
}

function* indicesOf({ first, last, step = 1 }: ArrayRange): Generator<number> {
  for (let index = first; index <= last; index += step) yield index;
}

/** Each is a job of its own: its index is put in here. */
function withIndex(command: AtSite, index: number): AtSite {
  const fill = (text: string): string => text.replaceAll(/(?<![${])\{index\}/g, String(index));
  return {
    ...command,
    command: command.command.map(fill),
    ...(command.inputs === undefined ? {} : { inputs: command.inputs.map(fill) }),
    outputs: (command.outputs ?? []).map(fill),
    env: {
      ...command.env,
      PILOTAGE_ARRAY_INDEX: String(index),
      SLURM_ARRAY_TASK_ID: String(index),
      SGE_TASK_ID: String(index),
    },
  };
}

function limited(steps: PlannedStep[]): PlannedStep[] {
  if (steps.length <= MOST_AT_SITE) return steps;
  throw new Error(
    `${steps.length} jobs at a site are too many (${MOST_AT_SITE} at most): use pool(…) with pilots at that site ('pilotage pilots')`,
  );
}

function specOf({ command, outputs = [], env, cpus, memory, gpus, timeLimit, retries }: Command): TaskSpec {
  const resources = {
    ...(cpus === undefined ? {} : { cpus }),
    ...(memory === undefined ? {} : { memory: parseSize(memory) }),
    ...(gpus === undefined ? {} : { gpus }),
  };
  return {
    command: [...command],
    outputs: outputs.map(toPattern),
    ...(env === undefined ? {} : { env: { ...env } }),
    ...(Object.keys(resources).length === 0 ? {} : { resources }),
    ...(timeLimit === undefined ? {} : { timeLimitSeconds: parseDuration(timeLimit) }),
    ...(retries === undefined ? {} : { retry: { limit: retries } }),
  };
}

function toPattern(text: string): { pattern: string; optional?: true } {
  return text.endsWith('?') ? { pattern: text.slice(0, -1), optional: true } : { pattern: text };
}
