/** One command that says of many jobs on a machine how far they are: exit code, new output, progress. */
import { randomBytes } from 'node:crypto';
import { Writable } from 'node:stream';
import { quote } from '../transport/quote.ts';
import type { Transport } from '../transport/transport.ts';
import { FILES } from './job-script.ts';
import { type ExitFile, parseExitFile } from './judge-ending.ts';

export interface LookedAt {
  readonly directory: string;
  /** Bytes of stdout and stderr that are known. */
  readonly offsets: { readonly stdout: number; readonly stderr: number };
}

/** `isGone`: there is no such directory. Output is new since the offsets, at most so much, and says where it begins. */
export interface Look {
  readonly isGone: boolean;
  readonly exit?: ExitFile;
  readonly hasStarted: boolean;
  readonly stdout?: { readonly offset: number; readonly bytes: Buffer };
  readonly stderr?: { readonly offset: number; readonly bytes: Buffer };
  /** Changes as long as it runs. */
  readonly alive?: string;
  /** The last line of the progress file. */
  readonly progress?: string;
}

/** Of one stream, with one look. */
const PIECE_BYTES = 64 * 1024;
const TIMEOUT_MS = 60_000;
const MAX_ARGUMENT_BYTES = 30_000;

export async function lookAtJobs(
  transport: Pick<Transport, 'run'>,
  jobs: readonly LookedAt[],
  signal: AbortSignal,
): Promise<Look[]> {
  const mark = randomBytes(16).toString('hex');
  const pieces: Buffer[] = [];
  const stdout = new Writable({
    write(piece: Buffer, _encoding, done) {
      pieces.push(piece);
      done();
    },
  });
  const script = scriptOf(jobs, mark);
  // A long one goes by standard input: an argument of a program has a limit, `eval` has none.
  const isLong = Buffer.byteLength(script) > MAX_ARGUMENT_BYTES;
  const options = { stdout, signal, timeoutMs: TIMEOUT_MS };
  await (isLong ? transport.run('eval "$(cat)"', { ...options, stdin: script }) : transport.run(script, options));
  return parseLooks(Buffer.concat(pieces), mark, jobs.length);
}

function scriptOf(jobs: readonly LookedAt[], mark: string): string {
  const looks = jobs.map(({ directory, offsets }) => `look ${quote(directory)} ${offsets.stdout} ${offsets.stderr}`);
  return `mark=${mark}
piece() {
  size=$(wc -c <"$1" 2>/dev/null) || size=0
  size=$((size)); from=$2
  [ $((size - from)) -le ${PIECE_BYTES} ] || from=$((size - ${PIECE_BYTES}))
  printf '%s %s %s\\n' "$mark" "$3" "$from"
  [ $size -le $from ] || tail -c +$((from + 1)) "$1" | head -c ${PIECE_BYTES}
  echo
}
look() {
  printf '%s job\\n\\n' "$mark"
  [ -d "$1" ] || { printf '%s gone\\n\\n' "$mark"; return; }
  [ ! -d "$1/${FILES.started}" ] || printf '%s started\\n\\n' "$mark"
  [ ! -e "$1/${FILES.alive}" ] || { printf '%s alive\\n' "$mark"; head -c 32 "$1/${FILES.alive}"; echo; }
  [ ! -e "$1/${FILES.exitCode}" ] || { printf '%s exit\\n' "$mark"; cat "$1/${FILES.exitCode}"; echo; }
  [ ! -e "$1/${FILES.stdout}" ] || piece "$1/${FILES.stdout}" "$2" stdout
  [ ! -e "$1/${FILES.stderr}" ] || piece "$1/${FILES.stderr}" "$3" stderr
  [ ! -s "$1/${FILES.progress}" ] || { printf '%s progress\\n' "$mark"; tail -n 1 "$1/${FILES.progress}" | head -c 4096; echo; }
}
${looks.join('\n')}
printf '%s end\\n' "$mark"
`;
}

/** Exported for its test. Rejects an answer that is cut short: nothing may be concluded from what is missing. */
export function parseLooks(answer: Buffer, mark: string, count: number): Look[] {
  const looks: Look[] = [];
  let at = answer.indexOf(mark);
  let isComplete = false;
  while (at >= 0) {
    const lineEnd = answer.indexOf(0x0a, at);
    if (lineEnd < 0) break;
    const [, kind = '', offset] = answer.subarray(at, lineEnd).toString().split(' ');
    const next = answer.indexOf(mark, lineEnd);
    // The line break before the next mark is ours.
    const bytes = answer.subarray(lineEnd + 1, next < 0 ? answer.length : Math.max(lineEnd + 1, next - 1));
    if (kind === 'job') looks.push({ isGone: false, hasStarted: false });
    else if (kind === 'end') isComplete = true;
    else looks.push(withFact(looks.pop() as Look, kind, { offset: Number(offset ?? 0), bytes }));
    at = next;
  }
  if (!isComplete || looks.length !== count) throw new Error(`the answer about ${count} jobs was cut short`);
  return looks;
}

function withFact(look: Look, kind: string, { offset, bytes }: { offset: number; bytes: Buffer }): Look {
  switch (kind) {
    case 'gone':
      return { ...look, isGone: true };
    case 'started':
      return { ...look, hasStarted: true };
    case 'exit': {
      const exit = parseExitFile(bytes.toString());
      return exit ? { ...look, exit } : look;
    }
    case 'alive':
      return { ...look, alive: bytes.toString().trim() };
    case 'stdout':
      return { ...look, stdout: { offset, bytes: Buffer.from(bytes) } };
    case 'stderr':
      return { ...look, stderr: { offset, bytes: Buffer.from(bytes) } };
    default:
      return { ...look, progress: bytes.toString().trim() };
  }
}
