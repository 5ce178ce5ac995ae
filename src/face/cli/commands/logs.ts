import type { Command } from 'commander';
import { Option } from 'commander';
import { PilotageError } from '../../../ground/base/errors.ts';
import type { LogEvent, LogStream } from '../../../ground/protocol/log.ts';
import type { Define } from '../define.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { onlyTask } from '../only-task.ts';
import { wholeNumber } from '../option-values.ts';
import { printLine, write } from '../output.ts';
import { readLogs } from '../submission/follow-logs.ts';

interface Options {
  readonly follow?: boolean;
  readonly attempt?: number;
  readonly stream?: LogStream;
}

/** Through a restart of the server; longer is for the one who looks to decide. */
const PATIENCE_SECONDS = 600;

export function logsCommand(define: Define): Command {
  return define('logs', 'Show what a task wrote: its stdout to stdout, its stderr to stderr', logs)
    .argument('<task>', 'the task, as in 12.3')
    .option('-f, --follow', 'go on while the task runs')
    .option('--attempt <n>', 'of this attempt; the last one unless given', wholeNumber(1))
    .addOption(new Option('--stream <name>', 'only one of the two').choices(['stdout', 'stderr']));
}

async function logs(invocation: Invocation, options: Options, target: string): Promise<number> {
  const id = await onlyTask(invocation, target);
  const leaving = new AbortController();
  const stop = options.follow ? invocation.context.onInterrupt(() => leaving.abort()) : () => {};
  const patience = {
    seconds: options.follow ? PATIENCE_SECONDS : 20,
    signal: leaving.signal,
    onOutage: () => void invocation.say('the server does not answer: trying again'),
  };
  try {
    await readLogs(
      invocation.client(),
      { ...options, id, follow: options.follow === true },
      { patience, onEvent: (event) => writeEvent(invocation, event) },
    );
    return EXIT.done;
  } catch (error) {
    if (leaving.signal.aborted) return EXIT.interrupted;
    throw error;
  } finally {
    stop();
  }
}

/** To the stream that the program wrote to, byte for byte; with `--json` as the event itself. */
export async function writeEvent(invocation: Invocation, event: LogEvent): Promise<void> {
  const { stdout, stderr } = invocation.context;
  if (invocation.json) return printLine(stdout, JSON.stringify(event));
  if (event.skipped) await invocation.say(`${event.skipped} bytes before this are not kept while the task runs`);
  if (event.stream === undefined || event.data === undefined)
    throw new PilotageError('internal', 'the server sent a piece of output without its content');
  await write(event.stream === 'stdout' ? stdout : stderr, Buffer.from(event.data, 'base64'));
}
