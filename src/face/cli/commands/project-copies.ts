import path from 'node:path';
import type { Command } from 'commander';
import { formatSize, parseSize } from '../../../ground/base/size.ts';
import type { ImportReply } from '../../../ground/protocol/backup.ts';
import type { Define } from '../define.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { withFileProgress } from '../submission/file-progress.ts';
import { plural } from '../table.ts';

export function projectExportCommand(define: Define): Command {
  return define('export', 'Write a project with everything in it into one file', exportOne)
    .argument('<name>', 'its name')
    .argument('<file>', 'a zip file, which must not be there');
}

export function projectImportCommand(define: Define): Command {
  return define('import', 'Bring in a project that was exported, here or elsewhere, under a new name', importOne)
    .argument('<file>', 'what was exported')
    .argument('<name>', "the project's new name")
    .option('--quota <size>', 'how much it may keep, as in 500GiB');
}

async function exportOne(invocation: Invocation, _options: object, project: string, file: string): Promise<number> {
  const { exportProject } = await import('../../../ground/client/backup/export-project.ts');
  const to = path.resolve(invocation.context.cwd, file);
  const manifest = await withFileProgress(invocation, (onProgress) =>
    exportProject({ client: invocation.client(), project, file: to, onProgress }),
  );
  const { counts, lost } = manifest;
  if (lost.length > 0)
    await invocation.say(
      `the server itself has lost ${plural(lost.length, 'file')} of the project, the first is ${lost[0]}`,
    );
  await invocation.print(
    { project, file: to, takenAt: manifest.takenAt, ...counts, lost: lost.length },
    () =>
      `${to}: project ${project} with ${plural(counts.rows, 'row')} and ${plural(counts.files, 'file')} (${formatSize(counts.bytes)})`,
  );
  return EXIT.done;
}

async function importOne(
  invocation: Invocation,
  { quota }: { quota?: string },
  file: string,
  project: string,
): Promise<number> {
  const { importProject } = await import('../../../ground/client/backup/import-project.ts');
  const reply = await withFileProgress(invocation, (onProgress) =>
    importProject({
      client: invocation.client(),
      file: path.resolve(invocation.context.cwd, file),
      project,
      onProgress,
      ...(quota === undefined ? {} : { quotaBytes: parseSize(quota) }),
    }),
  );
  await invocation.print(reply, () => describe(reply));
  return EXIT.done;
}

/** People look for their numbers; more than so many are for programs (`--json`). */
const SHOWN = 20;

function describe({ project, submissions, tasks, cancelled, jobs, documents }: ImportReply): string {
  const what = `project ${project} is there: ${plural(submissions.length, 'submission')} with ${plural(tasks, 'task')}, ${plural(jobs, 'job')}, ${plural(documents, 'document')}`;
  const unfinished =
    cancelled === 0
      ? []
      : [
          `${plural(cancelled, 'task')} ${cancelled === 1 ? 'was' : 'were'} unfinished, and cancelled here, so that nothing runs twice: 'pilotage retry' runs them`,
        ];
  const numbers = submissions.slice(0, SHOWN).map(({ from, to }) => `  submission ${from} is ${to} here`);
  const more = submissions.length > SHOWN ? [`  and ${submissions.length - SHOWN} more (--json shows all)`] : [];
  return [what, ...unfinished, ...numbers, ...more].join('\n');
}
