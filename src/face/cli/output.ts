import { once } from 'node:events';
import type { OutputStream } from './context.ts';

/** Writes and waits while the reader is slower than we are. */
export async function write(stream: OutputStream, text: string | Uint8Array): Promise<void> {
  if (!stream.write(text)) await once(stream, 'drain');
}

export async function printLine(stream: OutputStream, line: string): Promise<void> {
  await write(stream, `${line}\n`);
}

/** A single thing, on one line when a program reads it. */
export async function printJson(stream: OutputStream, value: unknown): Promise<void> {
  await printLine(stream, JSON.stringify(value, undefined, stream.isTTY ? 2 : undefined));
}

/** One JSON array, written as it comes. */
export async function printJsonList(
  stream: OutputStream,
  items: Iterable<unknown> | AsyncIterable<unknown>,
): Promise<void> {
  let separator = '[';
  for await (const item of items) {
    await write(stream, `${separator}${JSON.stringify(item)}`);
    separator = ',\n ';
  }
  await write(stream, separator === '[' ? '[]\n' : ']\n');
}
