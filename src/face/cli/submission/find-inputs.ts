import { glob, stat } from 'node:fs/promises';
import path from 'node:path';
import { messageOf, PilotageError } from '../../../ground/base/errors.ts';
import { fillPlaceholders, type Values } from '../../../ground/base/placeholders.ts';
import { notUtf8 } from '../../../ground/content/readable-name.ts';
import { parseSafePath } from '../../../ground/content/safe-path.ts';
import type { InputSource } from './job-step.ts';

/** A file or directory on this machine, and its name in the sandbox. */
export interface FoundInput {
  readonly file: string;
  readonly name: string;
  readonly writable?: boolean;
}

export type FindResult = { readonly found: readonly FoundInput[]; readonly missing: readonly string[] };

/** Looks for the inputs of a task, with its placeholders filled. What is not there comes back as `missing`, as it was written. */
export async function findInputs(inputs: readonly InputSource[], values: Values): Promise<FindResult> {
  const found: FoundInput[] = [];
  const missing: string[] = [];
  for (const input of inputs) {
    const source = filled(input.source.text, values);
    const files = await filesOf(source, input.base);
    for (const name of files.length === 0 ? [source] : files) await checkName(name, input);
    if (files.length === 0) missing.push(source);
    for (const file of files)
      found.push({
        file: path.resolve(input.base, file),
        name: nameOf(file, input, values, files.length > 1),
        ...(input.writable ? { writable: true } : {}),
      });
  }
  checkDistinct(found);
  return { found, missing };
}

function filled(text: string, values: Values): string {
  return fillPlaceholders(text, values, (name) => `{${name}}`);
}

/** A name that is there as it stands is no pattern, whatever characters it holds. */
async function filesOf(source: string, base: string): Promise<string[]> {
  if (await exists(path.resolve(base, source))) return [source];
  if (!/[*?[\]]/.test(source)) return [];
  const files: string[] = [];
  for await (const file of glob(source, { cwd: base })) files.push(file);
  return files.sort();
}

/** A name that was no UTF-8 has lost bytes on its way here. */
async function checkName(name: string, { base, source }: InputSource): Promise<void> {
  if (!name.includes('\uFFFD') || (await exists(path.resolve(base, name)))) return;
  throw new PilotageError('bad-spec', `${source.at}${messageOf(notUtf8(name))}`);
}

async function exists(file: string): Promise<boolean> {
  try {
    await stat(file);
    return true;
  } catch {
    return false;
  }
}

/** A path below the base keeps its directories; one from elsewhere has only its last name. `as` ending in / is a directory. */
function nameOf(file: string, input: InputSource, values: Values, several: boolean): string {
  const last = path.basename(path.resolve(input.base, file));
  const wanted = input.name ? filled(input.name.text, values) : plainName(file, last);
  const name = input.name && (wanted.endsWith('/') || several) ? path.posix.join(wanted, last) : wanted;
  try {
    return parseSafePath(name);
  } catch (error) {
    throw new PilotageError('bad-spec', `${input.name?.at ?? input.source.at}${messageOf(error)}`, { cause: error });
  }
}

function plainName(file: string, last: string): string {
  const normal = path.posix.normalize(file);
  return path.isAbsolute(file) || normal === '.' || normal === '..' || normal.startsWith('../') ? last : normal;
}

function checkDistinct(found: readonly FoundInput[]): void {
  const seen = new Map<string, string>();
  for (const { name, file } of found) {
    const other = seen.get(name);
    if (other !== undefined && other !== file) {
      throw new PilotageError(
        'bad-spec',
        `'${other}' and '${file}' would both be called '${name}' in the task's directory: give one another name (--input FILE:NAME, or 'as' in a job file)`,
      );
    }
    seen.set(name, file);
  }
}
