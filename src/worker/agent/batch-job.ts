import { PilotageError } from '../../ground/base/errors.ts';
import type { Site } from '../../ground/protocol/site.ts';
import type { BatchJob } from '../scheduler/scheduler.ts';
import { FILES, jobBody } from './job-script.ts';
import type { JournalEntry } from './journal.ts';
import { pilotCommand, pilotOptions, pilotSetup } from './pilot/pilot-job.ts';

/** What a batch system is told of an attempt. Its directory is known. */
export function batchJobOf(site: Site, entry: JournalEntry): BatchJob {
  const { name, spec } = entry;
  const directory = entry.directory as string;
  const { cpus, memory, gpus } = spec.resources ?? {};
  const memoryBytes = spec.memoryLimit ?? memory;
  const { pilot } = spec.site ?? {};
  const programDirectory = spec.site?.programDirectory ?? site.programDirectory;
  return {
    name,
    directory,
    body: jobBody({
      name,
      directory,
      ...whatRuns(site, entry),
      ...(programDirectory === undefined ? {} : { programDirectory }),
    }),
    stdout: `${directory}/${FILES.batchOut}`,
    stderr: `${directory}/${FILES.batchErr}`,
    options: [...site.queueOptions, ...ownOptions(site, entry), ...(pilot ? pilotOptions(site.scheduler, pilot) : [])],
    ...(spec.timeLimitSeconds === undefined ? {} : { wallTimeSeconds: spec.timeLimitSeconds }),
    ...(cpus === undefined ? {} : { cpus }),
    ...(memoryBytes === undefined ? {} : { memoryBytes }),
    ...(gpus === undefined ? {} : { gpus }),
  };
}

/** What the job says in the batch system's words: they mean nothing to another one. Without any it runs as a plain process too. */
function ownOptions(site: Site, { spec }: JournalEntry): readonly string[] {
  const batch = spec.site?.batch;
  if (batch === undefined || batch.scheduler === site.scheduler) return batch?.options ?? [];
  if (site.scheduler === 'process' && batch.options.length === 0) return [];
  throw new PilotageError(
    'bad-spec',
    `this is a job for ${batch.scheduler}, and the site '${site.name}' has ${site.scheduler}: name a site with ${batch.scheduler}, or send a plain command`,
  );
}

function whatRuns(site: Site, entry: JournalEntry) {
  const { spec, name, pilot: there } = entry;
  const directory = entry.directory as string;
  const pilot = spec.site?.pilot;
  if (!pilot || !there) {
    return {
      work: workOf(site, entry),
      setup: site.setup,
      environment: environmentOf(site, entry),
      command: spec.command ?? ['true'],
    };
  }
  if (pilot.command) {
    return {
      work: pilot.directory ?? directory,
      setup: [pilotSetup(directory), ...site.setup],
      environment: {},
      command: pilot.command,
    };
  }
  return {
    work: directory,
    setup: [pilotSetup(directory), ...site.setup],
    environment: {},
    command: pilotCommand(name, directory, pilot, there),
  };
}

/** Where the program runs, on the machine. */
export function workOf(site: Site, { directory, spec }: JournalEntry): string {
  return site.staging === 'shared' ? (spec.site?.projectDirectory as string) : `${directory}/${FILES.work}`;
}

function environmentOf(site: Site, { claim, spec, directory }: JournalEntry): Record<string, string> {
  const [submission = ''] = claim.task.split('.');
  const memory = spec.memoryLimit ?? spec.resources?.memory;
  return {
    ...spec.env,
    PILOTAGE_TASK_ID: claim.task,
    PILOTAGE_SUBMISSION_ID: submission,
    PILOTAGE_ATTEMPT: String(claim.attempt),
    PILOTAGE_PROJECT: claim.project,
    PILOTAGE_JOB: spec.site?.job?.number ?? '',
    PILOTAGE_SITE: site.name,
    PILOTAGE_CPUS: String(spec.resources?.cpus ?? 1),
    PILOTAGE_JOB_DIRECTORY: directory as string,
    PILOTAGE_RECORD_FILE: `${directory}/${FILES.record}`,
    PILOTAGE_PROGRESS_FILE: `${directory}/${FILES.progress}`,
    ...(memory === undefined ? {} : { PILOTAGE_MEMORY_BYTES: String(memory) }),
  };
}
