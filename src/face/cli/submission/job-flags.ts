import { type Command, Option } from 'commander';
import { parseTarget } from '../../../ground/base/task-id.ts';
import type { Resources, RetryPolicy } from '../../../ground/protocol/spec.ts';
import { defined } from '../defined.ts';
import { toOutput } from '../job-file/step-keys.ts';
import { SEVERAL } from '../option-sources.ts';
import { collect, collectCounts, collectList, collectPairs, duration, size, wholeNumber } from '../option-values.ts';
import type { InputSource, JobStep, Template } from './job-step.ts';
import { parsePointInTime } from './point-in-time.ts';

/** What `submit` and `run` can say about a task by flags. */
export interface JobFlags {
  readonly project?: string;
  readonly name?: string;
  readonly input?: readonly string[];
  readonly output?: readonly string[];
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
    .option('-o, --output <pattern>', `a file that the program leaves; 'file?' need not be there ${SEVERAL}`, collect)
    .option('-e, --env <name=value>', `a variable of the program ${SEVERAL}`, collectPairs)
    .option('--cpus <n>', 'processor cores, 1 unless given', wholeNumber())
    .option('--memory <size>', 'memory to set aside, as in 2GiB', size)
    .option('--gpus <n>', 'graphics processors', wholeNumber())
    .option('--resource <name=n>', `any other resource ${SEVERAL}`, collectCounts)
    .option('--label <name=value>', `only workers with this label ${SEVERAL}`, collectPairs)
    .option('--memory-limit <size>', 'end the program when it takes more memory', size)
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
