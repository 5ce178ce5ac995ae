import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { messageOf, PilotageError, systemCode } from '../../../ground/base/errors.ts';
import { isDeeperThan } from '../../../ground/base/json-depth.ts';
import { MAX_PAYLOAD_DEPTH } from '../../../ground/protocol/limits.ts';
import type { TaskList } from './job-step.ts';

const MAX_JSON_BYTES = 256 * 1024 * 1024;
const MAX_LINE = 1024 * 1024;

/** A task for each line that is not empty, with the line as `{line}`. */
export async function listLines(file: string, stdin: NodeJS.ReadableStream): Promise<TaskList> {
  const lines = await linesOf(file, stdin);
  return {
    kind: 'items',
    at: '',
    payloads: async function* () {
      for await (const { text } of lines()) yield { line: text };
    },
  };
}

/**
 * A task for each value: of one JSON array, or of a file with one JSON value on each line (`.jsonl`, `.ndjson`), which
 * may be as long as it likes.
 */
export async function listJson(file: string, stdin: NodeJS.ReadableStream): Promise<TaskList> {
  if (/\.(jsonl|ndjson)$/.test(file)) {
    const lines = await linesOf(file, stdin);
    return {
      kind: 'items',
      at: '',
      payloads: async function* () {
        for await (const { text, number } of lines()) yield parseValue(text, `${file}:${number}`);
      },
    };
  }
  const values = parseValue(await readWhole(file, stdin), file);
  if (!Array.isArray(values))
    throw refuse(`'${file}' holds no list: write a JSON array, with an element for each task`);
  if (values.length === 0) throw refuse(`the list in '${file}' is empty: there would be no task`);
  return { kind: 'items', at: '', count: values.length, payloads: () => values };
}

interface Line {
  readonly text: string;
  readonly number: number;
}

async function linesOf(file: string, stdin: NodeJS.ReadableStream): Promise<() => AsyncIterable<Line>> {
  if (file !== '-') {
    await checkReadable(file);
    return () => readLines(file, createReadStream(file, 'utf8'));
  }
  const kept: Line[] = [];
  for await (const line of readLines('standard input', stdin)) kept.push(line);
  return async function* () {
    yield* kept;
  };
}

async function* readLines(file: string, from: NodeJS.ReadableStream): AsyncIterable<Line> {
  let number = 0;
  for await (const text of createInterface({ input: from, crlfDelay: Number.POSITIVE_INFINITY })) {
    number += 1;
    if (text.includes('\0')) throw refuse(`'${file}' is not a text but binary data (line ${number})`);
    if (text.length > MAX_LINE) throw refuse(`line ${number} of '${file}' is longer than a million characters`);
    if (text.trim() !== '') yield { text, number };
  }
}

async function checkReadable(file: string): Promise<void> {
  try {
    if ((await stat(file)).isDirectory()) throw refuse(`'${file}' is a directory, not a list`);
  } catch (error) {
    if (error instanceof PilotageError) throw error;
    throw refuse(
      systemCode(error) === 'ENOENT'
        ? `the list '${file}' is not there`
        : `'${file}' cannot be read: ${messageOf(error)}`,
    );
  }
}

async function readWhole(file: string, stdin: NodeJS.ReadableStream): Promise<string> {
  if (file === '-') {
    const chunks: Buffer[] = [];
    for await (const chunk of stdin) chunks.push(Buffer.from(chunk));
    return Buffer.concat(chunks).toString('utf8');
  }
  await checkReadable(file);
  if ((await stat(file)).size > MAX_JSON_BYTES) {
    throw refuse(
      `'${file}' is too large to be read at once: write one JSON value on each line, in a file '${path.parse(file).name}.jsonl'`,
    );
  }
  return readFile(file, 'utf8');
}

function parseValue(text: string, where: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (error instanceof RangeError) throw tooDeep(where);
    throw refuse(`${where}: this is not JSON: ${messageOf(error).split('\n')[0]}`);
  }
  if (isDeeperThan(value, MAX_PAYLOAD_DEPTH + 1)) throw tooDeep(where);
  return value;
}

function tooDeep(where: string): PilotageError {
  return new PilotageError('too-deep', `${where}: it nests too deeply: at most ${MAX_PAYLOAD_DEPTH} levels`);
}

function refuse(message: string): PilotageError {
  return new PilotageError('bad-request', message);
}
