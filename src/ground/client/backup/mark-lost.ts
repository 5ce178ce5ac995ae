import { createReadStream, createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { StringDecoder } from 'node:string_decoder';
import { createGunzip, createGzip } from 'node:zlib';

/** Writes a copied database once more, in which just these files are those that are lost. */
export async function markLost(from: string, to: string, lost: readonly string[]): Promise<void> {
  const all = new Set(lost);
  await pipeline(
    createReadStream(from),
    createGunzip(),
    (bytes: AsyncIterable<Buffer>) => marked(linesOf(bytes), all),
    createGzip({ level: 4 }),
    createWriteStream(to, { mode: 0o600, flags: 'wx' }),
  );
}

/** Files are listed at the end, as lists of digest, size and whether it is lost. */
async function* marked(lines: AsyncIterable<string>, lost: ReadonlySet<string>): AsyncGenerator<string> {
  let isList = false;
  for await (const line of lines) {
    const isHead = line.startsWith('{');
    if (isHead) isList = 'files' in JSON.parse(line);
    if (isHead || !isList) yield `${line}\n`;
    else {
      const [digest, size] = JSON.parse(line) as [string, number];
      yield `${JSON.stringify([digest, size, lost.has(digest) ? 1 : 0])}\n`;
    }
  }
}

async function* linesOf(bytes: AsyncIterable<Buffer>): AsyncGenerator<string> {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  for await (const piece of bytes) {
    const lines = (rest + decoder.write(piece)).split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
  if (rest !== '') yield rest;
}
