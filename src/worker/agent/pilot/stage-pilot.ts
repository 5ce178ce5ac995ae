import { messageOf, PilotageError } from '../../../ground/base/errors.ts';
import type { PilotRequest } from '../../../ground/protocol/pilot.ts';
import { quote } from '../../transport/quote.ts';
import type { JournalEntry } from '../journal.ts';
import { type Context, JobFault, withMachine } from '../steps/context.ts';
import { makeDirectory, writeScript } from '../steps/stage.ts';
import type { PilotMeans, WorkerFile } from './means.ts';
import { type PilotThere, TOKEN_FILE } from './pilot-job.ts';
import { putWorkerFile } from './put-worker-file.ts';
import { tunnelTo } from './tunnel.ts';

const TIMEOUT_MS = 120_000;

/** Puts the worker file, a directory with the pilot's credential, and its script in place. May be done again after a crash. */
export async function stagePilot(context: Context, entry: JournalEntry): Promise<JournalEntry> {
  const { machine } = context;
  const pilot = entry.spec.site?.pilot as PilotRequest;
  context.show({ phase: 'staging' });
  if (pilot.command) return stageClient(context, entry);
  const file = await workerFile(context.pilots);
  return withMachine(context, { tries: machine.site.tries + 1 }, async () => {
    const program = await putWorkerFile(machine, file).catch(asFault);
    const directory = await makeDirectory(context, entry, machine.site.temporaryDirectory);
    const placed = { ...entry, directory, pilot: await reach(context, pilot, program) };
    await writeToken(context, placed);
    await writeScript(context, placed, 'true');
    return context.keep({ ...placed, phase: 'submitting' });
  });
}

/** A program of the users' own is there already, and enters by itself: it gets a directory for what it says. */
function stageClient(context: Context, entry: JournalEntry): Promise<JournalEntry> {
  const { machine, pilots } = context;
  return withMachine(context, { tries: machine.site.tries + 1 }, async () => {
    const directory = await makeDirectory(context, entry, machine.site.temporaryDirectory);
    const placed = { ...entry, directory, pilot: { program: '', serverUrl: pilots.serverUrl } };
    await writeScript(context, placed, 'true');
    return context.keep({ ...placed, phase: 'submitting' });
  });
}

async function workerFile({ workerFile }: PilotMeans): Promise<WorkerFile> {
  if (!workerFile) throw new JobFault('start-failed', 'this agent sends no pilots');
  try {
    return await workerFile();
  } catch (error) {
    throw new JobFault('start-failed', `the worker file could not be made: ${messageOf(error)}`, { cause: error });
  }
}

/** What is wrong with the place there does not get better by trying; a machine that is away does. */
function asFault(error: unknown): never {
  if (error instanceof PilotageError && error.code === 'wrong-state')
    throw new JobFault('start-failed', messageOf(error), { cause: error });
  throw error;
}

async function reach({ pilots, machine }: Context, pilot: PilotRequest, program: string): Promise<PilotThere> {
  const { serverUrl, fingerprint } = pilots;
  const there = { program, ...(fingerprint === undefined ? {} : { fingerprint }) };
  if (!pilot.tunnel) return { ...there, serverUrl: pilot.serverUrl ?? serverUrl };
  const tunnel = await tunnelTo(machine, serverUrl);
  return { ...there, tunnel, serverUrl: `${new URL(serverUrl).protocol}//${tunnel.host}:${tunnel.port}` };
}

/** An agent that was started anew opens the tunnel again that pilots at work go by. */
export async function reopenTunnel(context: Context, { pilot, claim }: JournalEntry): Promise<void> {
  const tunnel = pilot?.tunnel;
  if (!tunnel) return;
  const { machine, pilots, log } = context;
  await withMachine(context, {}, () => tunnelTo(machine, pilots.serverUrl, tunnel)).catch((error: unknown) => {
    if (!context.signal.aborted)
      log.warn({ task: claim.task, error: messageOf(error) }, 'the tunnel of a pilot could not be opened again');
  });
}

/**
 * The credential of the pilot's own attempt: good for its work while the attempt runs, and for nothing after. It comes
 * by the standard input of a command, into a file that nobody else can read.
 */
async function writeToken({ machine, signal }: Context, { claim, directory }: JournalEntry): Promise<void> {
  const token = `task:${claim.task}:${claim.attempt}:${claim.secret}`;
  const at = quote(`${directory}/${TOKEN_FILE}`);
  const { exitCode, stderr } = await machine.transport.run(
    `umask 077
rm -f ${at} && cat >${at}`,
    { stdin: `${token}\n`, timeoutMs: TIMEOUT_MS, signal },
  );
  if (exitCode !== 0)
    throw new JobFault(
      'start-failed',
      `its files could not be put into '${directory}' on '${machine.name}' (${stderr.trim()}): is there room?`,
    );
}
