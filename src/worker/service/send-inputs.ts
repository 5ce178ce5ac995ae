import { glob, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { PilotageError } from '../../ground/base/errors.ts';
import type { FileStore } from '../../ground/client/file-store.ts';
import { type UploadedFile, uploadPaths } from '../../ground/client/upload.ts';
import { LOG_FILE } from '../../ground/content/file-parameters.ts';
import { permissionsOf } from '../../ground/content/permissions.ts';
import { parseSafePath, resolveInside } from '../../ground/content/safe-path.ts';
import type { InputFile } from '../../ground/protocol/spec.ts';
import type { PlannedStep } from './plan-run.ts';

/** The job's log is written while its inputs travel. */
const LEFT_OUT = new Set([LOG_FILE]);

/** Uploads what a step reads of the job's directory: what is named, or all of it. */
export async function sendInputs(store: FileStore, directory: string, step: PlannedStep): Promise<InputFile[]> {
  const own = await sendFiles(store, step.files);
  if (step.isShared) return own;
  const taken = new Set(own.map(({ name }) => name));
  const names = (await namesOf(directory, step.inputs)).filter((name) => !taken.has(name));
  const paths: string[] = [];
  for (const name of names) paths.push(await inside(directory, name));
  const uploaded = names.length === 0 ? [] : await uploadPaths(store, paths);
  return [...own, ...names.map((name, at) => toInput(name, uploaded[at] as UploadedFile))];
}

async function namesOf(directory: string, inputs: readonly string[] | undefined): Promise<string[]> {
  if (inputs === undefined) return (await readdir(directory)).filter((name) => !LEFT_OUT.has(name)).sort();
  const names = new Set<string>();
  for (const input of inputs) {
    const found: string[] = [];
    const plain = parseSafePath(input);
    if (await resolveInside(directory, plain)) found.push(plain);
    else for await (const name of glob(plain, { cwd: directory })) found.push(name);
    if (found.length === 0)
      throw new PilotageError('not-found', `the job's directory has no '${input}', which its run is to read`);
    for (const name of found.sort()) names.add(name);
  }
  return [...names];
}

/** Whoever filled the directory may have put links there: none leads out of it. */
async function inside(directory: string, name: string): Promise<string> {
  const found = await resolveInside(directory, name);
  if (found !== undefined) return found;
  throw new PilotageError('not-found', `'${name}' in the job's directory is a link that leads nowhere`);
}

async function sendFiles(store: FileStore, files: PlannedStep['files']): Promise<InputFile[]> {
  if (files.length === 0) return [];
  const directory = await mkdtemp(path.join(tmpdir(), 'pilotage-script-'));
  try {
    const paths = files.map(({ name }) => path.join(directory, name));
    for (const [at, { content }] of files.entries()) await writeFile(paths[at] as string, content, { mode: 0o700 });
    const uploaded = await uploadPaths(store, paths);
    return files.map(({ name }, at) => toInput(name, uploaded[at] as UploadedFile));
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function toInput(name: string, { digest, kind, size, ...how }: UploadedFile): InputFile {
  // A copy of its own: a program may well write into what it is given.
  return { name, digest, kind, ...(kind === 'file' ? { size } : {}), ...permissionsOf(how), writable: true };
}
