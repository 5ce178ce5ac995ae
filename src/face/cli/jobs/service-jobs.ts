/** Commands for the jobs of services: they say what is to become of one, its host does it. */
import { cp, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline/promises';
import { messageOf, PilotageError } from '../../../ground/base/errors.ts';
import { fileParametersOf, plainFileName } from '../../../ground/content/file-parameters.ts';
import { readValue, type ValueSchema } from '../../../ground/content/form-values.ts';
import type { JobFile, ServiceView, WishReply } from '../../../ground/protocol/service.ts';
import { calls } from '../calls.ts';
import { defined } from '../defined.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { createUploader } from '../submission/uploader.ts';
import { plural } from '../table.ts';

export interface AddOptions {
  readonly project?: string;
  readonly name?: string;
  readonly contact?: string;
  readonly parameters?: string;
  readonly set?: Readonly<Record<string, string>>;
  readonly file?: Readonly<Record<string, readonly string[]>>;
  readonly after?: readonly string[];
}

export interface WishOptions {
  readonly project?: string;
  readonly allOf?: string;
  readonly yes?: boolean;
  readonly reason?: string;
}

type Wish = 'cancel' | 'fail' | 'resubmit' | 'delete';

/** Adds a job whose input is a directory: one in the service's incoming directory as it is, another one as a copy. */
export async function addJob(invocation: Invocation, options: AddOptions, name: string, dir?: string): Promise<number> {
  const params = { project: options.project ?? (invocation.context.env.PILOTAGE_PROJECT || 'default'), service: name };
  const service = await invocation.client().call(calls.service, { params });
  const given = options.file ?? {};
  const parameters = { ...parametersOf(options, service), ...namesOf(given, service) };
  const files = await sent(invocation, params.project, Object.values(given).flat());
  const directory = dir === undefined ? undefined : await placed(invocation, service, dir);
  const body = {
    parameters,
    ...defined({
      directory: directory?.name,
      name: options.name,
      contact: options.contact,
      after: options.after?.slice(),
      files: files.length === 0 ? undefined : files,
    }),
  };
  try {
    const made = await invocation.client().call(calls.createServiceJob, { params, body });
    await invocation.print(
      made,
      () =>
        `job ${made.number} of service ${name}${service.host === null ? ', which nobody hosts now' : ''}\n${made.link}`,
    );
    return EXIT.done;
  } catch (error) {
    // What the server has answered is not there; after no answer it may be.
    if (directory?.isCopy && error instanceof PilotageError) await rm(directory.path, { recursive: true, force: true });
    throw error;
  }
}

/** The names that the parameters get for files: a list where the service takes several. */
function namesOf(given: Readonly<Record<string, readonly string[]>>, { parameters }: ServiceView) {
  const known = new Map(fileParametersOf(parameters).map((parameter) => [parameter.name, parameter]));
  return Object.fromEntries(
    Object.entries(given).map(([name, paths]) => {
      const parameter = known.get(name);
      if (!parameter) {
        const which = known.size === 0 ? 'it takes no files' : `files go to ${[...known.keys()].join(', ')}`;
        throw new PilotageError('bad-request', `the service has no parameter '${name}' for files: ${which}`);
      }
      const names = paths.map((file) => plainFileName(path.basename(file)));
      if (!parameter.isList && names.length > 1)
        throw new PilotageError('bad-request', `'${name}' takes one file, not ${names.length}`);
      return [name, parameter.isList ? names : names[0]];
    }),
  );
}

async function sent(invocation: Invocation, project: string, paths: readonly string[]): Promise<JobFile[]> {
  if (paths.length === 0) return [];
  const full = paths.map((file) => path.resolve(invocation.context.cwd, file));
  for (const file of full)
    if (!(await stat(file).catch(() => undefined))?.isFile())
      throw new PilotageError('bad-request', `there is no file '${file}': nothing was added`);
  const uploaded = await createUploader({ client: invocation.client(), project })(full);
  return uploaded.map(({ digest, size }, at) => ({ name: path.basename(full[at] ?? ''), digest, size: size ?? 0 }));
}

async function placed({ context }: Invocation, { incoming, name: service }: ServiceView, dir: string) {
  const source = path.resolve(context.cwd, dir);
  if (!(await stat(source).catch(() => undefined))?.isDirectory())
    throw new PilotageError('bad-request', `there is no directory '${source}': nothing was added`);
  if (incoming === null) throw new PilotageError('wrong-state', `service '${service}' takes no directories`);
  if (`${path.resolve(incoming)}/`.startsWith(source === '/' ? '/' : `${source}/`))
    throw new PilotageError(
      'bad-request',
      `'${source}' holds the service's incoming directory '${incoming}': name the directory with the job's input alone: nothing was added`,
    );
  if (path.dirname(source) === path.resolve(incoming))
    return { name: path.basename(source), path: source, isCopy: false };
  const name = `added-${Date.now().toString(36)}-${process.pid}`;
  const to = path.join(incoming, name);
  const part = path.join(incoming, `.${name}.part`);
  try {
    await cp(source, part, { recursive: true, verbatimSymlinks: true });
    await rename(part, to);
  } catch (error) {
    await rm(part, { recursive: true, force: true });
    throw new PilotageError('bad-request', `'${source}' cannot be copied into '${incoming}': ${messageOf(error)}`, {
      cause: error,
    });
  }
  return { name, path: to, isCopy: true };
}

/** `--set n=3`: what the schema says is a number is one. */
function parametersOf(
  { parameters = '{}', set = {} }: AddOptions,
  { parameters: schema }: ServiceView,
): Record<string, unknown> {
  const properties = (schema.properties ?? {}) as Record<string, ValueSchema>;
  const read = ([key, text]: [string, string]): [string, unknown] => [key, readValue(key, properties[key], [text])];
  try {
    return { ...(JSON.parse(parameters) as object), ...Object.fromEntries(Object.entries(set).map(read)) };
  } catch (error) {
    throw new PilotageError('bad-request', `--parameters is no JSON: ${messageOf(error)}`, { cause: error });
  }
}

const DONE: Readonly<Record<Wish, string>> = {
  cancel: 'cancelled',
  fail: 'failed',
  resubmit: 'resubmitted',
  delete: 'deleted',
};

export async function wishJobs(
  invocation: Invocation,
  options: WishOptions,
  wish: Wish,
  numbers: readonly string[],
): Promise<number> {
  const project = options.project ?? (invocation.context.env.PILOTAGE_PROJECT || 'default');
  if (numbers.length > 0 === (options.allOf !== undefined))
    throw new PilotageError('bad-request', 'which jobs? Give their numbers, or a service with --all-of NAME');
  if (options.allOf !== undefined && options.yes !== true) await confirm(invocation, wish, options.allOf, project);
  const which = options.allOf === undefined ? { jobs: [...numbers] } : { service: options.allOf };
  const reply = await invocation
    .client()
    .call(calls.wishJobs, { params: { project }, body: { wish, ...which, ...defined({ reason: options.reason }) } });
  await invocation.print(reply, () => describeReply(reply, wish));
  for (const { number, why } of reply.refused) await invocation.say(`job ${number}: ${why}`);
  return reply.refused.length > 0 ? EXIT.failed : EXIT.done;
}

function describeReply({ wished, unhosted }: WishReply, wish: Wish): string {
  const later = unhosted.length === 0 ? '' : `; nobody hosts ${unhosted.join(', ')} now: it happens when somebody does`;
  if (wished.length === 0) return '';
  const which = wished.length > 10 ? plural(wished.length, 'job') : `job ${wished.join(', ')}`;
  return `${which} will be ${DONE[wish]}${later}`;
}

/** The name is typed, not just a key: what is deleted is gone. */
async function confirm({ context }: Invocation, wish: Wish, service: string, project: string): Promise<void> {
  const asked = `${wish} all jobs of service '${service}' in project '${project}'`;
  if (!(context.stdin as { isTTY?: boolean }).isTTY)
    throw new PilotageError('bad-request', `to ${asked} takes a word: nobody is there to be asked, so say --yes`);
  const lines = createInterface({ input: context.stdin, output: context.stderr });
  try {
    const answer = await lines.question(`${asked}? Type the name of the service: `);
    if (answer.trim() !== service) throw new PilotageError('bad-request', `that is not '${service}': nothing was done`);
  } finally {
    lines.close();
  }
}
