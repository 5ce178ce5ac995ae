import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { Over } from './attend.ts';
import { notStarted } from './failures.ts';
import { quote } from './quote.ts';
import type { Ended } from './shell.ts';
import { DIGEST, ENGLISH, EXIT, explainExit, isBrokenOff, type Transfer, temporaryName } from './transfer.ts';

/** What has arrived so far, and the digest of just that. */
interface Arriving {
  readonly file: FileHandle;
  received: number;
  sum: Hash;
}

/** Brings a file here. Goes on where it broke off; begins once more when it turns out to have changed meanwhile. */
export async function getFile(over: Over, wanted: Transfer): Promise<void> {
  const directory = path.dirname(path.resolve(wanted.local));
  const part = temporaryName(directory);
  const file = await open(part, 'wx', wanted.mode ?? 0o600);
  try {
    const arriving: Arriving = { file, received: 0, sum: createHash('sha256') };
    if (!(await fetchAll(over, wanted, arriving)) && !(await fetchAll(over, wanted, await restart(arriving)))) {
      throw changing(over.machine, wanted.remote);
    }
    if (wanted.mode !== undefined) await file.chmod(wanted.mode);
    await file.sync();
    await rename(part, wanted.local);
    await syncDirectory(directory);
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  } finally {
    await file.close();
  }
}

/** Resolves with whether what is here is what is there. */
async function fetchAll(over: Over, wanted: Transfer, arriving: Arriving): Promise<boolean> {
  for (let fruitless = 0; ; ) {
    const before = arriving.received;
    try {
      const ended = await fetchRest(over, wanted, arriving);
      if (ended.exitCode === 0) return isSame(ended.stderr.text(), arriving);
      throw explainExit(ended, `'${wanted.remote}' on '${over.machine}' could not be fetched`);
    } catch (error) {
      fruitless = arriving.received > before ? 0 : fruitless + 1;
      if (!isBrokenOff(error) || fruitless > over.tries) throw error;
    }
  }
}

async function fetchRest({ reach }: Over, { remote, signal }: Transfer, arriving: Arriving): Promise<Ended> {
  const name = quote(remote);
  const script = `${ENGLISH}
[ -f ${name} ] || exit ${EXIT.missing}
exec <${name}
tail -c +${arriving.received + 1} || exit ${EXIT.failed}
${DIGEST}
printf 'size %s digest %s\\n' "$(($(wc -c <${name})))" "$(digest <${name})" >&2`;
  const sink = writingTo(arriving);
  const order = { script, input: Buffer.alloc(0), output: sink, maxOutputBytes: 64 * 1024 };
  try {
    return await reach.execute({ ...order, ...(signal ? { signal } : {}) });
  } finally {
    // What came is to be written and counted before it is judged, or resumed.
    sink.end();
    await finished(sink).catch(() => {});
  }
}

function writingTo(arriving: Arriving): Writable {
  const sink = new Writable({
    highWaterMark: 1024 * 1024,
    write: (piece: Buffer, _encoding, done) => {
      arriving.sum.update(piece);
      writeAll(arriving, piece).then(() => done(), done);
    },
  });
  // The shell that writes to it meets the failure.
  sink.on('error', () => {});
  return sink;
}

async function writeAll(arriving: Arriving, piece: Buffer): Promise<void> {
  for (let at = 0; at < piece.length; ) {
    const { bytesWritten } = await arriving.file.write(piece, at, piece.length - at, arriving.received);
    at += bytesWritten;
    arriving.received += bytesWritten;
  }
}

/** The machine's facts are the last thing it said; where it has no program for digests the size must do. */
function isSame(said: string, { received, sum }: Arriving): boolean {
  const facts = /size (\d+) digest ([0-9a-f]*)\s*$/.exec(said);
  if (!facts || Number(facts[1]) !== received) return false;
  return facts[2] === '' || facts[2] === sum.copy().digest('hex');
}

async function restart(arriving: Arriving): Promise<Arriving> {
  await arriving.file.truncate(0);
  arriving.received = 0;
  arriving.sum = createHash('sha256');
  return arriving;
}

function changing(machine: string, remote: string): Error {
  return notStarted(
    'digest-mismatch',
    `'${remote}' on '${machine}' is not what arrived here (its size or SHA-256 differs, twice): fetch it when nothing writes to it`,
  );
}

/** The rename is safe only once the directory is. */
async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  await handle.sync().finally(() => handle.close());
}
