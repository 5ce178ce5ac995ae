import { mkdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { messageOf } from '../../../ground/base/errors.ts';
import { downloadFile, downloadTree } from '../../../ground/client/download.ts';
import { inLanes } from '../../../ground/content/in-lanes.ts';
import { removeDirectory } from '../../../ground/content/remove-directory.ts';
import { parseSafePath } from '../../../ground/content/safe-path.ts';
import type { JobRecord } from '../../../ground/protocol/job.ts';
import type { InputFile } from '../../../ground/protocol/spec.ts';
import { workerCalls } from '../../../ground/protocol/worker-calls.ts';
import {
  type JobballFormat,
  namesIn,
  PROJECT_NAME,
  packJobball,
  writeRecord,
} from '../../staging/jobball/pack-jobball.ts';
import { unpackScript } from '../../staging/jobball/remote-archive.ts';
import { retryWhileAway } from '../../staging/retry.ts';
import { quote } from '../../transport/quote.ts';
import { batchJobOf } from '../batch-job.ts';
import { FILES } from '../job-script.ts';
import type { JournalEntry } from '../journal.ts';
import { type Context, JobFault, withMachine } from './context.ts';
import { withRoom } from './with-room.ts';

/** Exit codes of our own scripts. */
const NO_ROOM = 71;
const NO_PROGRAMS = 72;
const NO_PROJECT = 73;
const TIMEOUT_MS = 120_000;
const PARALLEL = 4;

/**
 * Puts everything in place on the machine: with `archive` staging a jobball with the inputs and the record goes out and
 * is unpacked there; with `shared` nothing is copied but the script and the record. May be done again after a crash.
 */
export function stage(context: Context, entry: JournalEntry): Promise<JournalEntry> {
  return withRoom(context, () => stageOnce(context, entry));
}

async function stageOnce(context: Context, entry: JournalEntry): Promise<JournalEntry> {
  const { claim, spec } = entry;
  if (claim.fault !== undefined) throw new JobFault('input-failed', claim.fault);
  context.show({ phase: 'staging' });
  const record = await getRecord(context, entry);
  const isShared = context.machine.site.staging === 'shared';
  const prepared = await layOut(
    context,
    entry,
    record,
    isShared ? [] : [...(spec.inputs ?? []), ...(claim.inputs ?? []), ...(claim.from ?? [])],
  );
  const { tries } = context.machine.site;
  return withMachine(context, { tries: tries + 1 }, async () => {
    const directory = await makeDirectory(context, entry);
    const placed = { ...entry, directory };
    if (isShared) {
      await context.machine.transport.put(path.join(prepared, 'record.json'), `${directory}/record.json`, {
        signal: context.signal,
      });
      await writeScript(context, placed, 'true');
      return context.keep({ ...placed, phase: 'submitting' });
    }
    const names = await namesIn(prepared);
    const format = (await context.machine.archiver()).formatFor(names);
    const jobball = `${context.local}/${FILES.jobball}.${format}`;
    if ((await stat(jobball).catch(() => undefined)) === undefined) await packJobball(prepared, jobball, format);
    const there = `${directory}/${FILES.jobball}.${format}`;
    await context.machine.transport.put(jobball, there, { signal: context.signal });
    await writeScript(context, placed, unpacking({ archive: there, to: directory, names }, format));
    return context.keep({ ...placed, phase: 'submitting' });
  });
}

function unpacking(unpacked: Parameters<typeof unpackScript>[0], format: JobballFormat): string {
  return `( ${unpackScript(unpacked, format)} ) && mkdir -p ${quote(`${unpacked.to}/${FILES.work}`)}`;
}

async function getRecord({ client, signal, show }: Context, { claim, spec }: JournalEntry): Promise<JobRecord> {
  const number = spec.site?.job?.number ?? '';
  const params = { project: claim.project, number };
  return retryWhileAway(
    () => client.call(workerCalls.jobRecord, { params, signal }),
    signal,
    (why) => show({ detail: `the server is away: ${why}` }),
  );
}

/** The files and the record as they are to be on the machine, here. */
async function layOut(
  context: Context,
  { claim }: JournalEntry,
  record: JobRecord,
  inputs: readonly InputFile[],
): Promise<string> {
  const { client, signal, local, show } = context;
  const directory = path.join(local, 'setup');
  await removeDirectory(directory);
  const project = path.join(directory, PROJECT_NAME);
  await mkdir(project, { recursive: true, mode: 0o700 });
  const store = { client, project: claim.project, signal, patience: { seconds: Number.POSITIVE_INFINITY } };
  try {
    await inLanes([...inputs.entries()], PARALLEL, async ([, input]) => {
      const destination = path.join(project, parseSafePath(input.name));
      await mkdir(path.dirname(destination), { recursive: true });
      if (input.kind === 'tree') await downloadTree(store, input, destination);
      else await downloadFile(store, { ...input }, destination);
    });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new JobFault('input-failed', `its inputs could not be brought here: ${messageOf(error)}`, { cause: error });
  }
  await writeRecord(directory, record);
  show({ detail: undefined });
  return directory;
}

/** `$USER` in a directory's name is who we are there. Resolves with its absolute name. */
export async function makeDirectory(context: Context, { name, spec }: JournalEntry, below?: string): Promise<string> {
  const { site, transport } = context.machine;
  const programs = spec.site?.programDirectory ?? site.programDirectory;
  const isBesideProject = below === undefined && site.staging === 'shared';
  const wanted = isBesideProject ? `${projectDirectoryOf(spec.site)}/.pilotage` : (below ?? site.temporaryDirectory);
  const { exitCode, stdout, stderr } = await transport.run(
    `umask 077
USER=$(id -un); export USER
${programs === undefined ? '' : `[ -d ${withUser(programs)} ] || exit ${NO_PROGRAMS}`}
${isBesideProject ? `[ -d ${quote(projectDirectoryOf(spec.site))} ] || exit ${NO_PROJECT}` : ''}
base=${withUser(wanted)}
mkdir -p "$base"/${name} || exit ${NO_ROOM}
cd "$base"/${name} || exit ${NO_ROOM}
( : >.room && rm .room ) || exit ${NO_ROOM}
pwd -P`,
    { timeoutMs: TIMEOUT_MS, signal: context.signal },
  );
  const said = stderr.trim();
  const where = `'${wanted}' on '${transport.machine}'`;
  if (exitCode === 0) return stdout.trim();
  if (exitCode === NO_PROGRAMS)
    throw new JobFault(
      'start-failed',
      `there is no program directory '${programs}' on '${transport.machine}': correct 'programDirectory' of the site, or give --program-directory`,
    );
  if (exitCode === NO_PROJECT)
    throw new JobFault(
      'start-failed',
      `there is no directory '${projectDirectoryOf(spec.site)}' on '${transport.machine}': with shared staging the project's directory has to be there under the same name`,
    );
  throw new JobFault(
    'start-failed',
    `no directory could be made below ${where} (${said}): is it there, may you write to it, and is there room?`,
  );
}

function projectDirectoryOf(site: JournalEntry['spec']['site']): string {
  return site?.projectDirectory ?? '/';
}

/** A shell word in which `$USER` stands for the user there, and nothing else is ever read by the shell. */
export function withUser(directory: string): string {
  return directory.split('$USER').map(quote).join('"$USER"');
}

/** The script comes by the standard input of the command that unpacks: one round trip for both. */
export async function writeScript(context: Context, entry: JournalEntry, unpack: string): Promise<void> {
  const { machine, signal } = context;
  const directory = entry.directory as string;
  const text = machine.scheduler.script(batchJobOf(machine.site, entry));
  const { exitCode, stderr } = await machine.transport.run(
    `umask 077
cd ${quote(directory)} || exit 1
cat >${FILES.script}.part || exit 1
chmod 700 ${FILES.script}.part && mv ${FILES.script}.part ${FILES.script} || exit 1
${unpack}`,
    { stdin: text, timeoutMs: TIMEOUT_MS, signal },
  );
  if (exitCode !== 0)
    throw new JobFault(
      'start-failed',
      `its files could not be put into '${directory}' on '${machine.name}' (${stderr.trim()}): is there room?`,
    );
}
