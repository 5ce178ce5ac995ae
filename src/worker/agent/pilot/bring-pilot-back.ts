import type { Report } from '../../../ground/protocol/exchange.ts';
import type { JobOutput } from '../job-output.ts';
import { FILES } from '../job-script.ts';
import type { Ending, JournalEntry } from '../journal.ts';
import { type Context, withMachine } from '../steps/context.ts';
import { NODE_FILE } from './pilot-job.ts';

/** The end of what it said is enough: what it ran is in the logs of its tasks. */
const SAID_BYTES = 32 * 1024;

/** How a pilot ended, where it ran, and what it said last. It leaves nothing else. */
export async function bringPilotBack(context: Context, entry: JournalEntry, output: JobOutput): Promise<JournalEntry> {
  context.show({ phase: 'fetching' });
  const { task, attempt, secret } = entry.claim;
  const said = await tailOf(context, `${entry.directory}/${FILES.stderr}`);
  const node = (await tailOf(context, `${entry.directory}/${NODE_FILE}`)).toString().trim().slice(0, 256);
  const begun = entry.startedAt ?? entry.submittedAt;
  const report: Report = {
    task,
    attempt,
    secret,
    ...explained(entry.ending as Ending, said.toString()),
    ...(begun === undefined ? {} : { startedAt: begun }),
    ...(output.peak.cpuSeconds ? { cpuSeconds: output.peak.cpuSeconds } : {}),
    ...(output.peak.memory ? { peakMemory: output.peak.memory } : {}),
    ...(said.length > 0 ? { stderr: { size: said.length, data: said.toString('base64') } } : {}),
    site: { ...context.where(), ...(node === '' ? {} : { node }) },
  };
  return context.keep({ ...entry, phase: 'merging', report, entries: [], subJobs: [] });
}

/** Empty where there is no such file, as when the directory is gone. */
async function tailOf(context: Context, file: string): Promise<Buffer> {
  const { transport } = context.machine;
  return withMachine(context, {}, async () => {
    const piece = await transport.read(file, { offset: 0, limit: 16 * 1024 * 1024, signal: context.signal });
    return Buffer.from(piece ?? '').subarray(-SAID_BYTES);
  });
}

/** Exit codes of workers: 3, it never found the server; 126, the worker file could not start. */
function explained(ending: Ending, said: string): Ending {
  if (ending.outcome === 'succeeded') return ending;
  const last = lastWords(said);
  const how =
    ending.message ??
    (ending.exitCode === 3
      ? 'the pilot never reached the server'
      : `the pilot ended with ${ending.signal ?? `exit code ${ending.exitCode}`}`);
  return { ...ending, message: (last === undefined ? how : `${how}. It said last: ${last}`).slice(0, 2000) };
}

/** Workers log lines of JSON; the one with an error tells more than those after it. */
function lastWords(said: string): string | undefined {
  const lines = said.split('\n').filter((line) => line.trim() !== '');
  const errors = lines.flatMap((line) => {
    try {
      const { error } = JSON.parse(line) as { error?: string };
      return error === undefined ? [] : [error];
    } catch {
      return [line];
    }
  });
  return errors.at(-1) ?? undefined;
}
