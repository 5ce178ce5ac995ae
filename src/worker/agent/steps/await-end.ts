import { messageOf } from '../../../ground/base/errors.ts';
import type { BatchEnding, BatchRef, BatchStatus } from '../../scheduler/scheduler.ts';
import { pause } from '../../staging/retry.ts';
import type { JobOutput } from '../job-output.ts';
import { FILES } from '../job-script.ts';
import type { Ending, JournalEntry } from '../journal.ts';
import { type ExitFile, judgeEnding } from '../judge-ending.ts';
import type { Watch, WatchedJob } from '../watch.ts';
import { type Context, withMachine } from './context.ts';

/** How long the exit code is waited for once the batch system says that it is over, and once it knows nothing of it. */
export interface EndPatience {
  readonly endedMs: number;
  readonly goneMs: number;
  /** For the accounting, which comes late. */
  readonly outcomeMs: number;
}
export const END_PATIENCE: EndPatience = { endedMs: 10_000, goneMs: 60_000, outcomeMs: 30_000 };

/** What was seen of the end. */
interface Seen {
  readonly exit?: ExitFile;
  readonly ending?: BatchEnding;
  readonly isVanished?: boolean;
}

export function refOf(entry: JournalEntry): BatchRef {
  const directory = entry.directory as string;
  return { id: entry.batchId as BatchRef['id'], name: entry.name, directory, stderr: `${directory}/${FILES.batchErr}` };
}

/** Resolves with how it ended: by its exit-code file, what the batch system says, and its name there, together. */
export async function awaitEnd(
  context: Context,
  entry: JournalEntry,
  { watch, output, patience = END_PATIENCE }: { watch: Watch; output: JobOutput; patience?: EndPatience },
): Promise<JournalEntry> {
  context.show({ phase: 'pending', ...(entry.batchId === undefined ? {} : { batchId: entry.batchId }) });
  const seen = await watchUntilOver(context, entry, { watch, output, patience });
  const ending = await conclude(context, entry, seen, patience);
  return context.keep({
    ...entry,
    phase: 'ended',
    ending,
    ...(output.startedAt() ? { startedAt: output.startedAt() as string } : {}),
  });
}

function watchUntilOver(
  context: Context,
  entry: JournalEntry,
  { watch, output, patience }: { watch: Watch; output: JobOutput; patience: EndPatience },
): Promise<Seen> {
  const { promise, resolve, reject } = Promise.withResolvers<Seen>();
  let overSince: number | undefined;
  let alive: string | undefined;
  const job: WatchedJob = {
    ref: refOf(entry),
    offsets: () => output.offsets(),
    seen(look, status, processes) {
      const news = output.take(look, processes);
      show(context, status, look.hasStarted);
      // A controller that lost its memory does not know what runs still.
      if (look.alive !== alive) overSince = undefined;
      alive = look.alive;
      if (look.exit) resolve({ exit: look.exit, ...endingOf(status) });
      else if (isOver(status)) {
        overSince ??= performance.now();
        const wait = status?.state === 'ended' ? patience.endedMs : patience.goneMs;
        if (look.isGone) resolve({ isVanished: true, ...endingOf(status) });
        else if (performance.now() - overSince > wait) resolve(endingOf(status));
      } else if (status) overSince = undefined;
      return news || overSince !== undefined || look.exit !== undefined;
    },
    unseen: (error) => context.show({ detail: `${messageOf(error)}; the job goes on, looking again` }),
  };
  const stop = (): void => reject(context.signal.reason);
  context.signal.addEventListener('abort', stop, { once: true });
  if (context.signal.aborted) stop();
  else watch.add(job);
  return promise.finally(() => {
    watch.remove(job);
    context.signal.removeEventListener('abort', stop);
  });
}

function isOver(status: BatchStatus | undefined): boolean {
  return status?.state === 'ended' || status?.state === 'gone';
}

function endingOf(status: BatchStatus | undefined): { readonly ending?: BatchEnding } {
  return status?.state === 'ended' && status.ending ? { ending: status.ending } : {};
}

function show(context: Context, status: BatchStatus | undefined, hasStarted: boolean): void {
  switch (status?.state) {
    case 'pending': {
      const { reason, hopeless } = status;
      const said = reason === undefined ? undefined : `the batch system says: ${reason}`;
      const detail = hopeless
        ? `${said ?? 'it is held'}: it will not start as it is; cancel it, and ask for less`
        : said;
      context.show({ phase: 'pending', detail, hopeless: hopeless ? true : undefined });
      return;
    }
    case 'running':
    case 'ending':
      context.show({
        phase: 'running',
        hopeless: undefined,
        detail: status.state === 'ending' ? 'it is being ended' : undefined,
      });
      return;
    case 'unknown':
      context.show({ detail: `the batch system says: ${status.words}` });
      return;
    default:
      if (hasStarted) context.show({ phase: 'running', detail: undefined });
  }
}

/** Where a program was killed the batch system is asked why, for a while: its accounting comes late. */
async function conclude(
  context: Context,
  entry: JournalEntry,
  { exit, ending, isVanished }: Seen,
  patience: EndPatience,
): Promise<Ending> {
  const known = ending ?? (mayBeLimit(context, entry, exit) ? await askOutcome(context, entry, patience) : undefined);
  if (!isVanished) return judgeEnding(exit, known);
  const message = `its directory '${entry.directory}' on '${context.machine.name}' vanished while it ran, and its results with it: was it cleaned away? Give the site another temporaryDirectory`;
  return { outcome: 'failed', reason: 'output-failed', message };
}

/** Slurm writes what it did into the job's own output, Grid Engine nowhere: there the program's words are all there is. */
function wordsOf({ scheduler }: Context['machine'], { directory }: JournalEntry): Partial<BatchRef> {
  return scheduler.name === 'grid-engine' ? { stderr: `${directory}/${FILES.stderr}` } : {};
}

/** Was it killed, or refused memory? Grid Engine's limit makes allocations fail, which only the program's own words tell. */
function mayBeLimit({ machine }: Context, { spec }: JournalEntry, exit: ExitFile | undefined): boolean {
  if (exit === undefined || exit.code > 128) return true;
  const hasLimit = (spec.memoryLimit ?? spec.resources?.memory) !== undefined;
  return exit.code !== 0 && hasLimit && machine.scheduler.name === 'grid-engine';
}

async function askOutcome(
  context: Context,
  entry: JournalEntry,
  patience: EndPatience,
): Promise<BatchEnding | undefined> {
  const { machine, signal } = context;
  const deadline = performance.now() + patience.outcomeMs;
  if (entry.batchId === undefined || entry.batchId === ('unknown' as string)) return undefined;
  for (let wait = 1000; ; wait *= 2) {
    const outcome = await withMachine(context, {}, () =>
      machine.scheduler.outcome(machine.transport, { ...refOf(entry), ...wordsOf(machine, entry) }),
    );
    if (outcome || performance.now() > deadline) return outcome;
    await pause(Math.min(wait, Math.max(0, deadline - performance.now()) + 1), signal);
    signal.throwIfAborted();
  }
}
