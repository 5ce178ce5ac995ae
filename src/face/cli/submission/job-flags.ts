import { type Command, Option } from 'commander';
import { PilotageError } from '../../../ground/base/errors.ts';
import { parseTarget } from '../../../ground/base/task-id.ts';
import type { Resources, RetryPolicy } from '../../../ground/protocol/spec.ts';
import { defined } from '../defined.ts';
import { toOutput } from '../job-file/step-keys.ts';
import { SEVERAL } from '../option-sources.ts';
import { collect, collectCounts, collectList, collectPairs, duration, size, wholeNumber } from '../option-values.ts';
import type { FromSource, InputSource, JobStep, Template } from './job-step.ts';
import { parsePointInTime } from './point-in-time.ts';

/** What `submit` and `run` can say about a task by flags. */
export interface JobFlags {
  readonly project?: string;
  readonly name?: string;
  readonly input?: readonly string[];
  readonly from?: readonly string[];
  readonly output?: readonly string[];
  readonly checkpoint?: readonly string[];
  readonly checkpointInterval?: number;
  readonly reuse?: boolean;
  readonly env?: Readonly<Record<string, string>>;
  readonly cpus?: number;
  readonly memory?: number;
  readonly memoryLimit?: number;
  readonly gpus?: number;
  readonly resource?: Readonly<Record<string, number>>;
  readonly label?: Readonly<Record<string, string>>;
  readonly timeLimit?: number;
  readonly timeRequest?: number;
  readonly retries?: number;
  readonly backoff?: number;
  readonly priority?: number;
  readonly notBefore?: string;
  readonly after?: readonly string[];
  readonly strict?: boolean;
}

export function addJobFlags(command: Command): Command {
  return command
    .option('-p, --project <name>', "the project (PILOTAGE_PROJECT; else the file's own, else default)")
    .option('-n, --name <name>', 'a name to find it by')
    .option('-i, --input <path[:name]>', `a file, directory or 'pattern*' that the program needs ${SEVERAL}`, collect)
    .option(
      '--from <id[/file][:name]>',
      `outputs of another task, or of a submission's tasks, as inputs ${SEVERAL}`,
      collect,
    )
    .option('-o, --output <pattern>', `a file that the program leaves; 'file?' need not be there ${SEVERAL}`, collect)
    .option('-e, --env <name=value>', `a variable of the program ${SEVERAL}`, collectPairs)
    .option('--cpus <n>', 'processor cores, 1 unless given', wholeNumber())
    .option('--memory <size>', 'memory to set aside, as in 2GiB', size)
    .option('--gpus <n>', 'graphics processors', wholeNumber())
    .option('--resource <name=n>', `any other resource ${SEVERAL}`, collectCounts)
    .option('--label <name=value>', `only workers with this label ${SEVERAL}`, collectPairs)
    .option('--memory-limit <size>', 'end the program when it takes more memory', size)
    .option('--checkpoint <pattern>', `a file to keep while it runs, put back before a next try ${SEVERAL}`, collect)
    .option('--checkpoint-interval <duration>', 'how often it is kept, 10m unless given', duration)
    .option('--reuse', 'take the result of a task that asked the same and succeeded, if there is one')
    .option('--time-limit <duration>', 'end the program after so long, as in 1h30m', duration)
    .option('--time-request <duration>', 'only workers that live so long yet', duration)
    .option('--retries <n>', 'run a program that failed so often again', wholeNumber())
    .option('--backoff <duration>', 'wait so long before the first retry, then twice as long', duration)
    .addOption(new Option('--priority <n>', 'higher goes first').argParser(wholeNumber(Number.NEGATIVE_INFINITY)))
    .option('--not-before <when>', "a time ('2026-11-30 18:00') or a duration from now")
    .option('--after <id>', `tasks or submissions that must succeed first ${SEVERAL}`, collectList)
    .option('--strict', 'refuse what no present worker could run');
}

/** The step that the flags and the words behind `--` describe. What is undefined has not been said. */
export function fromFlags(
  flags: JobFlags,
  words: readonly string[] | undefined,
  base: { cwd: string; now: Date },
): JobStep {
  const { name, priority, timeLimit, timeRequest, memoryLimit, notBefore, after } = flags;
  return {
    ...defined({
      name,
      priority,
      memoryLimit,
      timeLimitSeconds: timeLimit,
      timeRequestSeconds: timeRequest,
      command: words?.map(toTemplate),
      env: flags.env && Object.fromEntries(Object.entries(flags.env).map(([key, value]) => [key, toTemplate(value)])),
      inputs: flags.input?.map((input) => toInput(input, base.cwd)),
      from: flags.from?.map(toFrom),
      checkpoint: toCheckpoint(flags),
      reuse: flags.reuse,
      outputs: flags.output?.map((output) => toOutput(toTemplate(output))),
      resources: toResources(flags),
      retry: toRetry(flags),
      notBefore: notBefore === undefined ? undefined : parsePointInTime(notBefore, base.now),
      after: after?.map(parseTarget),
    }),
  };
}

/** `PATH:NAME` gives a file another name in the task's directory. */
function toInput(text: string, base: string): InputSource {
  const at = text.lastIndexOf(':');
  if (at < 1 || at === text.length - 1) return { source: toTemplate(text), base };
  return { source: toTemplate(text.slice(0, at)), name: toTemplate(text.slice(at + 1)), base };
}

/** `12`, `12.3`, `12.{index}`, then `/FILE` for one output or pattern, then `:NAME` for what it is called here. */
function toFrom(text: string): FromSource {
  const match = /^(\d{1,15})(?:\.(\d{1,15}|\{[^}]*\}))?(?:\/([^:]+))?(?::(.+))?$/s.exec(text);
  if (!match)
    throw new PilotageError(
      'bad-request',
      `'${text}' names no outputs: write ID, ID/FILE or ID/FILE:NAME, where ID is a submission (12) or a task (12.3)`,
    );
  const [, submission, index, output, name] = match;
  return {
    submission: Number(submission),
    ...defined({
      index: index === undefined ? undefined : toTemplate(index),
      output: output === undefined ? undefined : toTemplate(output),
      name: name === undefined ? undefined : toTemplate(name),
    }),
  };
}

function toCheckpoint({ checkpoint, checkpointInterval }: JobFlags): JobStep['checkpoint'] {
  if (checkpoint === undefined && checkpointInterval === undefined) return undefined;
  if (checkpointInterval !== undefined && checkpointInterval < 1)
    throw new PilotageError(
      'bad-request',
      'between two checkpoints there is a second at least: --checkpoint-interval 1s',
    );
  return defined({ patterns: checkpoint?.map(toTemplate), intervalSeconds: checkpointInterval });
}

function toTemplate(text: string): Template {
  return { text, at: '' };
}

function toResources({ cpus, memory, gpus, resource, label }: JobFlags): Resources | undefined {
  const resources = defined({ cpus, memory, gpus, named: resource, labels: label });
  return Object.keys(resources).length === 0 ? undefined : (resources as Resources);
}

function toRetry({ retries, backoff }: JobFlags): RetryPolicy | undefined {
  if (retries === undefined && backoff === undefined) return undefined;
  return defined({ limit: retries, backoffSeconds: backoff });
}
