/**
 * A job for a service as a form, as browsers and `curl -F` send it. Files are kept aside while they arrive, and go into
 * the store when the whole form is here and right: of one that breaks off nothing is left.
 */
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import path from 'node:path';
import { type Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import busboy, { type BusboyHeaders, type BusboyInstance } from '@fastify/busboy';
import { messageOf, PilotageError, systemCode } from '../../ground/base/errors.ts';
import {
  checkFile,
  type FileParameter,
  fileParametersOf,
  plainFileName,
  tooLarge,
} from '../../ground/content/file-parameters.ts';
import { readValue, type ValueSchema } from '../../ground/content/form-values.ts';

/** What a form says. Files are where `open` reads them until the form is done with. */
export interface JobForm {
  readonly parameters: Record<string, unknown>;
  readonly files: readonly FormFile[];
  readonly name?: string;
  readonly contact?: string;
  readonly requestId?: string;
}

export interface FormFile {
  readonly name: string;
  readonly digest: string;
  readonly size: number;
  open(): Readable;
}

const MOST_FIELDS = 2000;
const MOST_FILES = 10_000;
const FIELD_BYTES = 1024 * 1024;
/** Fields that are about the job and no parameters. */
const OWN = { 'job.name': 'name', 'job.contact': 'contact', 'job.requestId': 'requestId' } as const;

interface Place {
  /** The schema of the service's parameters. */
  readonly schema: object;
  /** Files are kept below it until the form is done with. */
  readonly spool: string;
}

/** Reads a form, gives it to `use`, and forgets its files. Rejects with `bad-request` for one that breaks off or is not right. */
export async function withJobForm<T>(
  request: IncomingMessage,
  { schema, spool }: Place,
  use: (form: JobForm) => Promise<T>,
): Promise<T> {
  const directory = path.join(spool, `form-${randomUUID()}`);
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    return await use(await read(request, schema, directory));
  } catch (error) {
    if (systemCode(error) === 'ENOSPC' || systemCode(error) === 'EDQUOT')
      throw new PilotageError('storage-full', 'the disk of the server is full: nothing was added. Try again later', {
        cause: error,
      });
    throw error;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function read(request: IncomingMessage, schema: object, directory: string): Promise<JobForm> {
  const known = new Map(fileParametersOf(schema).map((parameter) => [parameter.name, parameter]));
  const texts = new Map<string, string[]>();
  const coming: Readable[] = [];
  const saving: Promise<TakenFile | undefined>[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const parser = parserOf(request);
  const fail = (error: unknown): void => {
    request.unpipe(parser);
    reject(error);
    for (const stream of coming) stream.destroy();
  };
  parser.on('field', (name, text, _isNameCut, isCut) => {
    if (isCut)
      return fail(new PilotageError('body-too-large', `the field '${name}' is longer than ${FIELD_BYTES} bytes`));
    texts.set(name, [...(texts.get(name) ?? []), text]);
  });
  parser.on('file', (field, stream, given) => {
    stream.on('error', () => {});
    coming.push(stream);
    const saved = saveFile({ field, stream, given }, known, path.join(directory, String(saving.length)));
    saved.catch(fail);
    saving.push(saved);
  });
  for (const limit of ['fieldsLimit', 'filesLimit', 'partsLimit'] as const)
    parser.on(limit, () => fail(new PilotageError('body-too-large', 'the form has too many fields or files')));
  parser.on('error', (error) => fail(notAForm(messageOf(error))));
  parser.on('finish', () => resolve());
  const onGone = (): void => fail(notAForm('it broke off before its end'));
  request.once('aborted', onGone);
  request.once('error', onGone);
  request.pipe(parser);
  try {
    await promise;
    return formOf(
      schema,
      texts,
      (await Promise.all(saving)).filter((file) => file !== undefined),
    );
  } finally {
    request.off('aborted', onGone);
    // What was begun is over before its files are removed.
    await Promise.allSettled(saving);
  }
}

function parserOf(request: IncomingMessage): BusboyInstance {
  try {
    return new busboy.Busboy({
      headers: request.headers as BusboyHeaders,
      // A name with a path in it is refused, and not made into another name.
      preservePath: true,
      limits: { fieldSize: FIELD_BYTES, fields: MOST_FIELDS, files: MOST_FILES, headerPairs: 100 },
    });
  } catch (error) {
    throw notAForm(messageOf(error));
  }
}

function notAForm(why: string): PilotageError {
  return new PilotageError('bad-request', `the form could not be read (${why}): nothing was added. Send it again`);
}

interface TakenFile extends FormFile {
  readonly parameter: FileParameter;
}

interface Coming {
  readonly field: string;
  readonly stream: Readable;
  /** The name that came with it. */
  readonly given: string | undefined;
}

/** An empty file field, as browsers send it when none was chosen, is none. */
async function saveFile(
  { field, stream, given = '' }: Coming,
  known: ReadonlyMap<string, FileParameter>,
  file: string,
): Promise<TakenFile | undefined> {
  const parameter = known.get(field);
  const sum = createHash('sha256');
  let size = 0;
  if (given === '') {
    stream.resume();
    return undefined;
  }
  if (!parameter) throw noFileFor(field, [...known.keys()]);
  const name = plainFileName(given);
  checkFile(parameter, name, 0);
  const measure = new Transform({
    transform(piece: Buffer, _encoding, done) {
      size += piece.length;
      if (size > parameter.maxBytes) return done(tooLarge(parameter, name));
      sum.update(piece);
      done(null, piece);
    },
  });
  await pipeline(stream, measure, createWriteStream(file, { flags: 'wx', mode: 0o600 }));
  return { parameter, name, digest: sum.digest('hex'), size, open: () => createReadStream(file) };
}

function noFileFor(field: string, known: readonly string[]): PilotageError {
  const which = known.length === 0 ? 'this service takes no files' : `files go to ${known.join(', ')}`;
  return new PilotageError('bad-request', `the parameter '${field}' takes no file: ${which}. Nothing was added`);
}

function formOf(schema: object, texts: ReadonlyMap<string, readonly string[]>, files: readonly TakenFile[]): JobForm {
  const { properties = {} } = schema as { properties?: Readonly<Record<string, ValueSchema>> };
  const parameters: Record<string, unknown> = {};
  const own: { name?: string; contact?: string; requestId?: string } = {};
  for (const [field, given] of texts) {
    const [text = ''] = given;
    if (Object.hasOwn(OWN, field)) {
      if (text !== '') own[OWN[field as keyof typeof OWN]] = text;
      continue;
    }
    const value = readValue(field, Object.hasOwn(properties, field) ? properties[field] : undefined, given);
    if (value !== undefined) set(parameters, field, value);
  }
  for (const { parameter, name } of files) {
    if (!parameter.isList && Object.hasOwn(parameters, parameter.name))
      throw new PilotageError('bad-request', `'${parameter.name}' takes one file, and several came: nothing was added`);
    const before = (parameters[parameter.name] ?? []) as string[];
    set(parameters, parameter.name, parameter.isList ? [...before, name] : name);
  }
  return { parameters, files: files.map(({ parameter: _, ...file }) => file), ...own };
}

/** Whatever a field is called, it is a key and nothing more. */
function set(parameters: Record<string, unknown>, key: string, value: unknown): void {
  Object.defineProperty(parameters, key, { value, enumerable: true, writable: true, configurable: true });
}
