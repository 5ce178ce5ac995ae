import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { messageOf, PilotageError, systemCode } from '../../../ground/base/errors.ts';
import { parseArrayRange } from '../../../ground/protocol/array-range.ts';
import type { CliContext } from '../context.ts';
import { fromFlags, type JobFlags } from './job-flags.ts';
import { type Job, type JobStep, mergeSteps, type TaskList } from './job-step.ts';
import { listJson, listLines } from './list-files.ts';

export interface ListFlags {
  readonly array?: string;
  readonly eachLine?: string;
  readonly fromJson?: string;
}

const MAX_FILE_BYTES = 64 * 1024 * 1024;

/** Brings together the job file (if any), the flags, and the words behind `--`. Flags go before what the file says. */
export async function describeJob(
  file: string | undefined,
  flags: JobFlags & ListFlags,
  { context, command }: { context: CliContext; command: readonly string[] | undefined },
): Promise<Job> {
  checkEither(file, command);
  const tasks = await toTaskList(flags, context);
  const own: JobStep = {
    ...fromFlags(flags, command, { cwd: context.cwd, now: context.now() }),
    ...(tasks ? { tasks } : {}),
  };
  if (file === undefined) return { steps: [own] };
  const { project, steps } = await readJobFile(file, context);
  if (own.name !== undefined && steps.length > 1)
    throw refuse(`'${file}' has several steps, each with its own name: leave out --name`);
  return { ...(project === undefined ? {} : { project }), steps: steps.map((step) => mergeSteps(step, own)) };
}

function checkEither(file: string | undefined, command: readonly string[] | undefined): void {
  if (file !== undefined && command)
    throw refuse(`'${file}' says what to run, and so does the command behind '--': give one of them`);
  if (file === undefined && !command)
    throw refuse("what is to be run? Give a job file, or a command behind '--': pilotage submit -- COMMAND");
  if (command?.length === 0) throw refuse("the command behind '--' is missing: pilotage submit -- COMMAND");
}

async function toTaskList(
  { array, eachLine, fromJson }: ListFlags,
  { cwd, stdin }: CliContext,
): Promise<TaskList | undefined> {
  const given = [array, eachLine, fromJson].filter((value) => value !== undefined);
  if (given.length > 1)
    throw refuse('--array, --each-line and --from-json each say which tasks there are: give one of them');
  if (array !== undefined) return { kind: 'array', at: '', range: parseArrayRange(array) };
  if (eachLine !== undefined) return listLines(resolved(eachLine, cwd), stdin);
  return fromJson === undefined ? undefined : listJson(resolved(fromJson, cwd), stdin);
}

function resolved(file: string, cwd: string): string {
  return file === '-' ? file : path.resolve(cwd, file);
}

async function readJobFile(file: string, context: CliContext): Promise<Job> {
  const full = path.resolve(context.cwd, file);
  const bytes = await readBytes(full, file);
  if (bytes.length > MAX_FILE_BYTES) {
    throw refuse(
      `'${file}' is too large for a job file: describe one task there, and list what differs in a file for --from-json`,
    );
  }
  const { parseJobFile } = await import('../job-file/parse-job-file.ts');
  return parseJobFile(toText(bytes, file), { fileName: file, directory: path.dirname(full), now: context.now() });
}

async function readBytes(full: string, file: string): Promise<Buffer> {
  try {
    return await readFile(full);
  } catch (error) {
    throw refuse(
      systemCode(error) === 'ENOENT'
        ? `the job file '${file}' is not there; a command is written behind '--': pilotage submit -- ${file}`
        : `the job file '${file}' cannot be read: ${messageOf(error)}`,
    );
  }
}

function toText(bytes: Buffer, file: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw refuse(`'${file}' is not text (UTF-8) but binary data: a job file is YAML`);
  }
}

function refuse(message: string): PilotageError {
  return new PilotageError('bad-request', message);
}
