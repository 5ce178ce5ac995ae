import { quote } from '../../transport/quote.ts';
import { ask, sectionOf } from '../answer.ts';
import type { BatchId, BatchRef, CancelOutcome } from '../scheduler.ts';
import type { Shell } from '../shell.ts';
import { parseClaim } from './identity.ts';
import { shellLibrary } from './shell-library.ts';

export interface CancelOptions {
  readonly proc: string;
  readonly graceSeconds: number;
  readonly timeoutMs: number;
}

/** TERM to all, the grace for all at once, KILL; resolves when it is known what came of it. */
export async function cancelProcesses(
  shell: Shell,
  jobs: readonly BatchRef[],
  { proc, graceSeconds, timeoutMs }: CancelOptions,
): Promise<Map<BatchId, CancelOutcome>> {
  if (jobs.length === 0) return new Map();
  const sections = { cancel: cancelScript(jobs, proc, graceSeconds) };
  const limit = timeoutMs + (graceSeconds + 20) * 1000;
  const answer = await ask(shell, { what: 'the machine', sections, timeoutMs: limit });
  const results = new Map(
    sectionOf(answer, 'cancel')
      .stdout.split('\n')
      .map((line) => /^(\d+) (\w+) ?(.*)$/.exec(line))
      .flatMap((match) => (match ? [[Number(match[1]), toOutcome(match[2]!, match[3]!)] as const] : [])),
  );
  return new Map(
    jobs.map((job, index) => [job.id, results.get(index) ?? { failed: 'the machine said nothing about it' }]),
  );
}

function toOutcome(word: string, rest: string): CancelOutcome {
  if (word === 'cancelled') return 'cancelled';
  if (word === 'gone') return 'already-gone';
  if (word === 'elsewhere') return { failed: `it was started on another machine; this is ${rest}: cancel it there` };
  return { failed: `processes ${rest.trim()} are still there after KILL (waiting for a disk?): look at them there` };
}

/**
 * The supervisor is left to write down the end; it is killed only if it does not. Its job's script looks for `cancelled`
 * before it begins: nothing starts after this.
 */
function cancelScript(jobs: readonly BatchRef[], proc: string, graceSeconds: number): string {
  const calls = jobs.map((job, index) => {
    const id = parseClaim(job.id) ?? { pid: 0, start: '-', boot: '-', host: '-' };
    const words = [`${job.directory}/.${job.name}`, job.name, id.pid, id.start, id.boot, id.host];
    return `  "$1" ${index} ${words.map((word) => quote(String(word))).join(' ')}`;
  });
  return `${shellLibrary(proc)}
boot=$(boot_id) host=$(host_name) open=' '
jobs() {
${calls.join('\n')}
}
snapshot() { t=$(table); m=$(marked); }
is_up() { [ "$(start_of "$1")" = "$2" ]; }
is_open() { case $open in *" $1 "*) return 0 ;; esac; return 1; }
shut() { open=$(echo "$open" | sed "s/ $1 / /"); echo "$1 $2 \${3:-}"; }
begin() {
  if [ "$4" = 0 ] || [ -s "$2/exit" ]; then echo "$1 gone"; return; fi
  if [ "$7" != "$host" ]; then echo "$1 elsewhere $host"; return; fi
  if [ "$6" != "$boot" ]; then echo "$1 gone"; return; fi
  left=$(pids "$3" "$2" "$t" "$m")
  if [ -z "$left" ] && ! is_up "$4" "$5"; then echo "$1 gone"; return; fi
  { printf '' >"$2/cancelled"; } 2>/dev/null
  open="$open$1 "
  signal_all TERM "$left"; signal_all CONT "$left"
}
look() {
  is_open "$1" || return 0
  is_up "$4" "$5" && return 0
  [ -z "$(pids "$3" "$2" "$t" "$m")" ] && shut "$1" cancelled
}
strike() {
  is_open "$1" || return 0
  left=$(pids "$3" "$2" "$t" "$m")
  signal_all KILL "$left"
  [ -n "$left" ] || [ "$round" -lt 40 ] || ! is_up "$4" "$5" || kill -s KILL "$4" 2>/dev/null
  look "$@"
}
give_up() { is_open "$1" && shut "$1" left "$(pids "$3" "$2")"; }
snapshot; jobs begin
until=$(($(now) + ${graceSeconds}))
while [ "$open" != ' ' ] && [ "$(now)" -le "$until" ]; do nap; snapshot; jobs look; done
round=0
while [ "$open" != ' ' ] && [ $round -lt 60 ]; do snapshot; jobs strike; round=$((round + 1)); nap; done
jobs give_up
exit 0`;
}
