import { Command } from 'commander';
import { agentCommand } from './commands/agent.ts';
import { auditCommand } from './commands/audit.ts';
import { backupCommand } from './commands/backup.ts';
import { cacheCommand } from './commands/cache.ts';
import { cancelCommand } from './commands/cancel.ts';
import { forgetCommand } from './commands/forget.ts';
import { exportCommand, importCommand } from './commands/import-export.ts';
import { jobCommand } from './commands/job.ts';
import { loginCommand } from './commands/login.ts';
import { logoutCommand } from './commands/logout.ts';
import { logsCommand } from './commands/logs.ts';
import { peerCommand } from './commands/peer.ts';
import { pilotsCommand } from './commands/pilots.ts';
import { projectCommand } from './commands/project.ts';
import { restoreCommand } from './commands/restore.ts';
import { resultsCommand } from './commands/results.ts';
import { retryCommand } from './commands/retry.ts';
import { runCommand } from './commands/run.ts';
import { serveCommand } from './commands/serve.ts';
import { serviceCommand } from './commands/service.ts';
import { siteCommand } from './commands/site.ts';
import { statusCommand } from './commands/status.ts';
import { stopCommand } from './commands/stop.ts';
import { submitCommand } from './commands/submit.ts';
import { taskCommand } from './commands/task.ts';
import { tasksCommand } from './commands/tasks.ts';
import { tokenCommand } from './commands/token.ts';
import { userCommand } from './commands/user.ts';
import { versionCommand } from './commands/version.ts';
import { whoamiCommand } from './commands/whoami.ts';
import { whyCommand } from './commands/why.ts';
import { workerCommand } from './commands/worker.ts';
import { workersCommand } from './commands/workers.ts';
import { applyConfig, loadConfig } from './config-file.ts';
import type { CliContext } from './context.ts';
import type { Act, Define } from './define.ts';
import { createInvocation, type GlobalOptions, type Invocation } from './invocation.ts';
import { applyEnv } from './option-sources.ts';

/** What came of a command line, for the one who runs it. */
export interface Outcome {
  code: number;
  isRun: boolean;
  verbose: boolean;
}

const DESCRIPTION = "Runs a research group's computations wherever the group has computers, and loses none of them.";

/** Exit codes, for the foot of the help. */
const FOOT = `
Every option can be given as a variable too: --slots of 'worker' is PILOTAGE_WORKER_SLOTS.
Exit codes: 0 done, 1 the work failed, 2 wrong usage, 3 server unreachable;
'run' ends with the program's own code, or 125 when the fault is not the program's.`;

/** The whole command line. `words` are those behind `--`. Sets `outcome`; throws `CommanderError` for wrong usage. */
export function createProgram(context: CliContext, outcome: Outcome, words: readonly string[] | undefined): Command {
  const program = configure(new Command('pilotage'), context)
    .description(DESCRIPTION)
    .usage('COMMAND [OPTIONS]')
    .option('--server <url>', 'the server (PILOTAGE_SERVER); your own running one unless given')
    .option('--token-file <file>', 'the file with your token (PILOTAGE_TOKEN_FILE)')
    .option('--fingerprint <sha256>', 'the fingerprint of a self-made certificate (PILOTAGE_FINGERPRINT)')
    .option('--data <dir>', 'the data directory of a server on this machine (PILOTAGE_DATA)')
    .option('--json', 'answer in JSON')
    .option('-v, --verbose', 'say more; twice for all', (_: string, before: number) => before + 1, 0)
    .version(context.version, '--version', 'the version')
    .addHelpText('after', FOOT);

  const define: Define = (name, summary, act) => {
    const command = configure(new Command(name), context).description(summary);
    if (!act) return command;
    return command.action(async () => {
      outcome.isRun = name === 'run';
      applyEnv(command, context.env);
      const configs = await loadConfig(program, context.env);
      for (const config of configs) await applyConfig(command, config);
      const options = command.optsWithGlobals() as GlobalOptions;
      outcome.verbose = (options.verbose ?? 0) > 0;
      const invocation = createInvocation(context, options, { command: words, configs });
      try {
        outcome.code = await run(act, invocation, command);
      } finally {
        invocation.close();
      }
    });
  };

  for (const make of COMMANDS) program.addCommand(make(define));
  return program;
}

/**
 * commander checked the options and arguments against what the command declares, which is where its types come from. An
 * option that the command above has too (`workers --all`) was taken there.
 */
function run<Options, Args extends unknown[]>(
  act: Act<Options, Args>,
  invocation: Invocation,
  command: Command,
): Promise<number> {
  return act(invocation, command.optsWithGlobals() as Options, ...(command.processedArgs as Args));
}

const COMMANDS = [
  submitCommand,
  runCommand,
  statusCommand,
  tasksCommand,
  taskCommand,
  whyCommand,
  logsCommand,
  resultsCommand,
  retryCommand,
  cancelCommand,
  forgetCommand,
  jobCommand,
  serviceCommand,
  siteCommand,
  agentCommand,
  workersCommand,
  pilotsCommand,
  projectCommand,
  peerCommand,
  loginCommand,
  logoutCommand,
  whoamiCommand,
  userCommand,
  tokenCommand,
  auditCommand,
  importCommand,
  exportCommand,
  backupCommand,
  restoreCommand,
  serveCommand,
  stopCommand,
  workerCommand,
  cacheCommand,
  versionCommand,
];

function configure(command: Command, { stdout, stderr }: CliContext): Command {
  return command
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void stdout.write(text),
      writeErr: (text) => void stderr.write(text),
      outputError: () => {},
    })
    .configureHelp({ showGlobalOptions: true })
    .allowExcessArguments(false)
    .helpOption('-h, --help', 'this help');
}
