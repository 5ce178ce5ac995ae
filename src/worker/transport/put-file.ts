import { createReadStream } from 'node:fs';
import path from 'node:path';
import { hashFile } from '../../ground/content/hash-file.ts';
import type { Over } from './attend.ts';
import { quote } from './quote.ts';
import type { Ended } from './shell.ts';
import { BLOCK, DIGEST, ENGLISH, EXIT, explainExit, isBrokenOff, type Transfer, temporaryName } from './transfer.ts';

interface Sending extends Transfer {
  readonly size: number;
  readonly digest: string;
  readonly part: string;
}

/** Brings a file there. Goes on where it broke off as long as that gets it further, and `tries` times if not. */
export async function putFile(over: Over, wanted: Transfer): Promise<void> {
  const { size, digest } = await hashFile(wanted.local);
  const sending = { ...wanted, size, digest, part: temporaryName(path.posix.dirname(wanted.remote)) };
  const what = `'${wanted.local}' could not be brought to '${wanted.remote}' on '${over.machine}'`;
  let there = 0;
  let fruitless = 0;
  for (;;) {
    try {
      const ended = await send(over, sending, there);
      if (ended.exitCode === 0) return;
      if (!isSpoilt(ended, there) || fruitless >= over.tries) throw explainExit(ended, what);
      there = 0;
      fruitless += 1;
      continue;
    } catch (error) {
      if (!isBrokenOff(error) || fruitless >= over.tries) {
        void discard(over, sending.part);
        throw error;
      }
    }
    const before = there;
    there = await sizeThere(over, sending).catch(fromTheBeginning);
    fruitless = there > before ? 0 : fruitless + 1;
  }
}

/** The connection broke off once more: what is there is asked for by nobody now. */
function fromTheBeginning(error: unknown): number {
  if (isBrokenOff(error)) return 0;
  throw error;
}

/** What was resumed is not what was left: an attempt that was given up ended late. All of it is sent once more. */
function isSpoilt({ exitCode }: Ended, there: number): boolean {
  return there > 0 && (exitCode === EXIT.wrongSize || exitCode === EXIT.wrongDigest);
}

/** From the beginning of a block: `dd` counts in blocks. */
async function send(over: Over, sending: Sending, there: number): Promise<Ended> {
  const { local, size, signal } = sending;
  const block = Math.floor(there / BLOCK);
  const start = block * BLOCK;
  const bytes = start < size ? createReadStream(local, { start, end: size - 1, highWaterMark: BLOCK }) : undefined;
  // Its failure is met by whoever reads it; there may be none yet.
  bytes?.on('error', () => {});
  try {
    return await over.reach.execute({
      script: receivingScript(sending, block),
      input: bytes ?? Buffer.alloc(0),
      maxOutputBytes: BLOCK,
      ...(signal ? { signal } : {}),
    });
  } finally {
    bytes?.destroy();
  }
}

/**
 * Writes at a position instead of appending: what a connection that was given up still brings lands in its own place,
 * where the same bytes belong. When the input breaks off the size is wrong, and nothing is renamed.
 */
function receivingScript({ remote, part, size, digest, mode = 0o600 }: Sending, block: number): string {
  // A name alone may look like an option.
  const name = quote(remote.startsWith('-') ? `./${remote}` : remote);
  const temporary = quote(part);
  const left = `[ "$(($(wc -c <${temporary})))" -ge ${block * BLOCK} ] || exit ${EXIT.wrongSize}`;
  return `${ENGLISH}
umask 077
[ -d ${name} ] && exit ${EXIT.isDirectory}
${block > 0 ? left : ''}
said=$(dd of=${temporary} bs=${BLOCK} seek=${block} conv=notrunc 2>&1) || { printf '%s\\n' "$said" | grep -v records >&2; exit ${EXIT.failed}; }
[ "$(($(wc -c <${temporary})))" = ${size} ] || exit ${EXIT.wrongSize}
${DIGEST}
there=$(digest <${temporary})
[ -z "$there" ] || [ "$there" = ${digest} ] || exit ${EXIT.wrongDigest}
chmod ${mode.toString(8)} ${temporary} && mv -f ${temporary} ${name} || exit ${EXIT.failed}`;
}

async function sizeThere({ reach }: Over, { part, signal }: Sending): Promise<number> {
  const script = `[ -f ${quote(part)} ] && wc -c <${quote(part)}`;
  const { stdout } = await reach.execute({
    script,
    input: Buffer.alloc(0),
    maxOutputBytes: BLOCK,
    ...(signal ? { signal } : {}),
  });
  return Number.parseInt(stdout.text(), 10) || 0;
}

/** What is left of a transfer that failed for good. Where the machine is not reached it stays. */
async function discard({ reach }: Over, part: string): Promise<void> {
  const order = { script: `rm -f ${quote(part)}`, input: Buffer.alloc(0), maxOutputBytes: BLOCK, timeoutMs: 10_000 };
  await reach.execute(order).catch(() => {});
}
