import { Readable } from 'node:stream';
import type { Order, Over } from './attend.ts';
import { notStarted } from './failures.ts';
import { getFile } from './get-file.ts';
import { putFile } from './put-file.ts';
import { quote } from './quote.ts';
import type { RunOptions, Transport } from './transport.ts';

const MAX_OUTPUT_BYTES = 4 * 1024 * 1024;
const MAX_INLINE_BYTES = 32 * 1024;
/** The script's exit code for a file that is not there. */
const MISSING = 94;

/** All that a transport does, out of running scripts. */
export function transportOver(over: Over): Transport {
  const { machine, reach } = over;
  return {
    machine,
    run: async (script, options = {}) => {
      const { exitCode, stdout, stderr } = await reach.execute(toOrder(script, options));
      return { exitCode, stdout: stdout.text(), stderr: stderr.text(), isCut: stdout.isCut || stderr.isCut };
    },
    put: (local, remote, options = {}) => putFile(over, { local, remote, ...options }),
    get: (remote, local, options = {}) => getFile(over, { local, remote, ...options }),
    read: async (remote, { offset, limit, ...early }) => {
      const name = quote(remote);
      // A failing `exec` ends the shell; in the pipe the failure would be lost.
      const script = `[ -f ${name} ] || exit ${MISSING}; exec <${name}; tail -c +${offset + 1} | head -c ${limit}`;
      const { exitCode, stdout, stderr } = await reach.execute(toOrder(script, { ...early, maxOutputBytes: limit }));
      if (exitCode === MISSING) return undefined;
      if (exitCode === 0) return stdout.bytes();
      throw notStarted('transfer-failed', `'${remote}' on '${machine}' could not be read: ${stderr.text().trim()}`);
    },
    connect: reach.connect,
    ...(reach.forward ? { forward: reach.forward } : {}),
    stats: reach.stats,
    close: reach.close,
  };
}

function toOrder(script: string, options: RunOptions): Order {
  const { stdin = '', stdout, timeoutMs, signal, maxOutputBytes = MAX_OUTPUT_BYTES } = options;
  return {
    script,
    input: stdin instanceof Readable ? stdin : inputOf(Buffer.from(stdin)),
    maxOutputBytes,
    ...(stdout === undefined ? {} : { output: stdout }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(signal === undefined ? {} : { signal }),
  };
}

/** A little goes along with the script; more than a line is to hold comes behind it. */
function inputOf(bytes: Buffer): Uint8Array | Readable {
  return bytes.length <= MAX_INLINE_BYTES ? bytes : Readable.from([bytes]);
}
