import path from 'node:path';
import type { Command } from 'commander';
import type { WorkerOptions } from '../context.ts';
import type { Define } from '../define.ts';
import { defined } from '../defined.ts';
import type { Invocation } from '../invocation.ts';
import { SEVERAL } from '../option-sources.ts';
import { collectCounts, collectList, collectPairs, duration, size, wholeNumber } from '../option-values.ts';
import { parseListen } from './serve.ts';

interface Options {
  readonly slots?: number;
  readonly memory?: number;
  readonly gpus?: number;
  readonly resource?: Readonly<Record<string, number>>;
  readonly label?: Readonly<Record<string, string>>;
  readonly cache?: string;
  readonly cacheSize?: number;
  readonly share: boolean;
  readonly shareListen?: string;
  readonly shareAddress?: string;
  readonly zone?: string;
  readonly name?: string;
  readonly project?: readonly string[];
  readonly wallTime?: number;
  readonly untilIdle?: number;
  readonly keepSandboxes?: boolean;
}

export function workerCommand(define: Define): Command {
  return define('worker', 'Run a worker: it fetches tasks from the server and runs them here', worker)
    .option('--slots <n>', 'offer so many cpus; all of this machine unless given', wholeNumber(1))
    .option('--memory <size>', 'offer so much memory; all of this machine unless given', size)
    .option('--gpus <n>', 'offer so many graphics processors', wholeNumber())
    .option('--resource <name=n>', `offer any other resource ${SEVERAL}`, collectCounts)
    .option('--label <name=value>', `a label that tasks can ask for ${SEVERAL}`, collectPairs)
    .option('--cache <dir>', 'its work directory: sandboxes, unsent results and a cache of files')
    .option('--cache-size <size>', 'keep so much of downloaded files; 10GiB unless given', size)
    .option('--zone <name>', 'where it stands: workers of one zone feed each other')
    .option('--no-share', 'give nothing to the other workers of its zone, and take nothing from them')
    .option('--share-listen <host:port>', 'where they fetch from it; any free port unless given')
    .option(
      '--share-address <host[:port]>',
      'where they reach it, if not at the address with which it dials the server',
    )
    .option('--name <name>', 'what it is called; host and process unless given')
    .option('-p, --project <name>', `only tasks of this project ${SEVERAL}`, collectList)
    .option('--wall-time <duration>', 'it must end after so long, and takes only what fits', duration)
    .option('--until-idle <duration>', 'end when there was nothing to do for so long', duration)
    .option('--keep-sandboxes', "leave the tasks' directories, to look into them");
}

async function worker(invocation: Invocation, options: Options): Promise<number> {
  const { context } = invocation;
  const { url, tokenFile, fingerprint } = invocation.address();
  const { slots, memory, gpus, zone, name, wallTime, untilIdle } = options;
  const offered: WorkerOptions = {
    version: context.version,
    server: url,
    tokenFile: path.resolve(context.cwd, tokenFile),
    keepSandboxes: options.keepSandboxes === true,
    verbosity: 1 + (invocation.options.verbose ?? 0),
    ...defined({
      fingerprint,
      slots,
      memory,
      gpus,
      zone,
      name,
      cacheBytes: options.cacheSize,
      share: shareOf(options),
      named: options.resource,
      labels: options.label,
      projects: options.project,
      wallTimeSeconds: wallTime,
      untilIdleSeconds: untilIdle,
      workDirectory: options.cache === undefined ? undefined : path.resolve(context.cwd, options.cache),
    }),
  };
  return context.worker(offered);
}

function shareOf({ share, shareListen, shareAddress }: Options): Exclude<WorkerOptions['share'], undefined> {
  if (!share) return false;
  return defined({ listen: shareListen === undefined ? undefined : parseListen(shareListen), address: shareAddress });
}
