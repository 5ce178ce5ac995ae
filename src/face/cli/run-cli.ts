import { type Command, CommanderError } from 'commander';
import { messageOf, PilotageError } from '../../ground/base/errors.ts';
import { ServerUnreachable } from '../../ground/client/transport.ts';
import type { CliContext } from './context.ts';
import { EXIT, exitCodeOf } from './exit-codes.ts';
import { hintOf } from './nearest.ts';
import { printLine } from './output.ts';
import { createProgram, type Outcome } from './program.ts';

/** Runs one command line (without `node` and the script). Resolves with the exit code; never rejects. */
export async function runCli(argv: readonly string[], context: CliContext): Promise<number> {
  const outcome: Outcome = { code: EXIT.done, isRun: false, verbose: false };
  const { words, command } = splitCommand(argv);
  const program = createProgram(context, outcome, command);
  try {
    await program.parseAsync(words, { from: 'user' });
    return outcome.code;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return EXIT.done;
    if (error instanceof CommanderError && error.code === 'commander.help') return EXIT.usage;
    await tell(unknownSubcommand(error, program, words) ?? error, context, outcome);
    if (outcome.isRun || argv[0] === 'run') return EXIT.ours;
    return error instanceof CommanderError ? EXIT.usage : exitCodeOf(error);
  }
}

/** commander takes the word for an argument where a command does something by itself too: `peer conect`. */
function unknownSubcommand(error: unknown, program: Command, words: readonly string[]): CommanderError | undefined {
  if (!(error instanceof CommanderError) || error.code !== 'commander.excessArguments') return undefined;
  const name = /^error: too many arguments for '([^']+)'/.exec(error.message)?.[1];
  const known = program.commands.find((one) => one.name() === name)?.commands.map((one) => one.name()) ?? [];
  const word = words.slice(words.indexOf(name ?? '') + 1).find((one) => !one.startsWith('-'));
  if (known.length === 0 || word === undefined || known.includes(word)) return undefined;
  return new CommanderError(error.exitCode, error.code, `'${name}' has no command '${word}'${hintOf(word, known)}`);
}

/** What is behind the first `--` is a command to run and nobody else's. */
function splitCommand(argv: readonly string[]): { words: string[]; command: string[] | undefined } {
  const at = argv.indexOf('--');
  return at < 0 ? { words: [...argv], command: undefined } : { words: argv.slice(0, at), command: argv.slice(at + 1) };
}

async function tell(error: unknown, context: CliContext, outcome: Outcome): Promise<void> {
  await printLine(context.stderr, `pilotage: ${toLine(error)}`);
  if (outcome.verbose && error instanceof Error) await printLine(context.stderr, error.stack ?? '');
}

function toLine(error: unknown): string {
  if (error instanceof CommanderError) return usageLine(error.message);
  const message = inLines(messageOf(error).trim());
  const isExpected = error instanceof PilotageError || error instanceof ServerUnreachable;
  return isExpected ? message : `${message} (unexpected; --verbose shows where)`;
}

/** One line, unless the first one announces a list: `…:`. */
function inLines(message: string): string {
  const [head = '', ...more] = message.split(/\s*\n\s*/);
  return head.endsWith(':') ? [head, ...more].join('\n  ') : [head, ...more].join('; ');
}

/** commander's words in ours: one line, with the nearest word and where to read on. */
function usageLine(message: string): string {
  const words = /^error: too many arguments for '(run|submit)'/.exec(message)?.[1];
  if (words) return `the command to run is written behind '--': pilotage ${words} -- COMMAND`;
  const [first = '', second = ''] = message.replace(/^error: /, '').split('\n');
  const nearest = /\(Did you mean (.*)\?\)/.exec(second)?.[1];
  const hint = nearest ? `: did you mean '${nearest}'?` : '';
  return `${first.replace(/\.$/, '')}${hint}`;
}
