import { quote } from '../../transport/quote.ts';
import type { JournalEntry } from '../journal.ts';
import { type Context, withMachine } from './context.ts';

const TIMEOUT_MS = 600_000;

/** What we made on the machine goes. Directories that a program left closed are opened first. */
export async function clean(context: Context, { directory, name, pilot, isLeft }: JournalEntry): Promise<void> {
  if (isLeft) return;
  // Only ever a directory that bears the job's own name.
  if (directory === undefined || !directory.endsWith(`/${name}`)) return;
  const where = quote(directory);
  // Beside a project's files there is a directory of ours, which goes when it is empty.
  const isShared = context.machine.site.staging === 'shared' && pilot === undefined;
  const emptied = isShared ? `rmdir ${quote(directory.slice(0, directory.lastIndexOf('/')))} 2>/dev/null; true` : '';
  await withMachine(context, {}, async () => {
    const { exitCode, stderr } = await context.machine.transport.run(
      `rm -rf ${where} 2>/dev/null || { chmod -R u+rwX ${where} && rm -rf ${where}; } || exit 1
${emptied}`,
      { timeoutMs: TIMEOUT_MS, signal: context.signal },
    );
    if (exitCode !== 0)
      context.log.warn(
        { machine: context.machine.name, directory, error: stderr.trim() },
        'a job directory could not be removed: remove it by hand',
      );
  });
}
