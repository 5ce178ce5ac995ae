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
import { formatSize } from '../../ground/base/size.ts';
import {
  checkFile,
  type FileParameter,
  fileParametersOf,
  plainFileName,
  tooLarge,
} from '../../ground/content/file-parameters.ts';
import { badForm, type JobFields, jobFieldsOf } from './job-fields.ts';

/** What a form says. Files are where `open` reads them until the form is done with. */
export interface JobForm extends JobFields {
  readonly files: readonly FormFile[];
}

export interface FormFile {
  readonly name: string;
  readonly digest: string;
  readonly size: number;
  open(): Readable;
}

const MOST_FIELDS = 2000;
const MOST_FILES = 10_000;
/** Files being written at a time; small ones come faster than a disk takes them. */
const OPEN_FILES = 64;
const FIELD_BYTES = 1024 * 1024;
/** Of all fields together, which are kept in memory. */
const TEXT_BYTES = 16 * 1024 * 1024;
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
  const counts = new Map<string, number>();
  let textBytes = 0;
  let underWay = 0;
  let isRefused = false;
  const coming: Readable[] = [];
  const saving: Promise<TakenFile | undefined>[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const parser = parserOf(request);
  const fail = (error: unknown): void => {
    isRefused = true;
    request.unpipe(parser);
    reject(error);
    for (const stream of coming) stream.destroy();
  };
  parser.on('field', (name, text, _isNameCut, isCut) => {
    if (name === undefined) return fail(notAForm('a field has no name'));
    textBytes += text.length;
    if (isCut || textBytes > TEXT_BYTES) return fail(tooMuchText(name, isCut));
    texts.set(name, [...(texts.get(name) ?? []), text]);
  });
  parser.on('file', (field, stream, given) => {
    stream.on('error', () => {});
    coming.push(stream);
    const count = (counts.get(field) ?? 0) + 1;
    counts.set(field, count);
    const saved = saveFile({ field, stream, given, count }, known, path.join(directory, String(saving.length)));
    underWay += 1;
    // The last of them may need what comes next: it is not waited for.
    if (underWay > OPEN_FILES) request.unpipe(parser);
    saved.then(() => {
      underWay -= 1;
      if (underWay === OPEN_FILES && !isRefused) request.pipe(parser);
    }, fail);
    saving.push(saved);
  });
  for (const limit of ['fieldsLimit', 'filesLimit', 'partsLimit'] as const)
    parser.on(limit, () => fail(new PilotageError('body-too-large', 'the form has too many fields or files')));
  parser.on('error', (error) => fail(notAForm(messageOf(error))));
  parser.on('finish', () => resolve());
  const onGone = (): void => fail(notAForm('it broke off before its end'));
  request.once('aborted', onGone);
  request.once('error', onGone);
  // It may have gone while others were asked whether it may come at all: then nothing more is told of it.
  if (request.destroyed) onGone();
  else request.pipe(parser);
  try {
    await promise;
    const files = (await Promise.all(saving)).filter((file) => file !== undefined);
    return { ...jobFieldsOf(schema, texts, files), files: files.map(({ parameter: _, ...file }) => file) };
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

function tooMuchText(field: string, isCut: boolean): PilotageError {
  const what = isCut
    ? `the field '${field}' is longer than ${formatSize(FIELD_BYTES)}`
    : `the fields of the form are longer than ${formatSize(TEXT_BYTES)} together`;
  return new PilotageError('body-too-large', `${what}: nothing was added. Send what is large as a file`);
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
  /** So many files came for this field, with this one. */
  readonly count: number;
}

/** An empty file field, as browsers send it when none was chosen, is none. */
async function saveFile(
  { field, stream, given, count }: Coming,
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
  if (given === undefined) throw notAForm(`what came for '${field}' is neither a text nor has it the name of a file`);
  if (count > parameter.most)
    throw badForm(
      `'${field}' takes ${parameter.isList ? `${parameter.most} files at most` : 'one file'}, and more came`,
    );
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
