/** What there is to see of jobs: the question in shell, and what follows from the answer. */
import { quote } from '../../transport/quote.ts';
import type { BatchEnding, BatchRef, BatchStatus, EndingCause } from '../scheduler.ts';
import { readShellCode } from '../signals.ts';
import { type ProcessId, parseClaim } from './identity.ts';
import { shellLibrary } from './shell-library.ts';

export interface Seen {
  readonly boot: string;
  readonly host: string;
  /** Of the process that has the supervisor's number now; empty when none has. */
  readonly start: string;
  readonly claim: string;
  readonly exit: string;
  readonly isCancelled: boolean;
  /** A process that carries the job's name. */
  readonly left: string;
}

/** The end is read after the process was looked for: who ends in between is not missed. */
export function lookScript(jobs: readonly BatchRef[], proc: string): string {
  const calls = jobs.map((job, index) => {
    const pid = parseClaim(job.id)?.pid ?? 0;
    return `look ${index} ${quote(`${job.directory}/.${job.name}`)} ${quote(job.name)} ${pid}`;
  });
  return `${shellLibrary(proc)}
look() {
  start=$(start_of "$4") claim='' end='' cancelled='' left=''
  { read -r claim <"$2/claim"; } 2>/dev/null
  { read -r end <"$2/exit"; } 2>/dev/null
  [ -e "$2/cancelled" ] && cancelled=yes
  [ -z "$start$end" ] && left=$(marked "$3" | sed -n "s/ $3\\$//p" | head -n 1)
  echo "$1|$boot|$host|$start|$claim|$end|$cancelled|$left"
}
boot=$(boot_id) host=$(host_name)
${calls.join('\n')}`;
}

export function readSeen(text: string): Map<number, Seen> {
  const seen = new Map<number, Seen>();
  for (const line of text.split('\n')) {
    const [index, boot = '', host = '', start = '', claim = '', exit = '', cancelled, left = ''] = line.split('|');
    if (line.split('|').length !== 8) continue;
    seen.set(Number(index), { boot, host, start, claim, exit, isCancelled: cancelled === 'yes', left });
  }
  return seen;
}

export function statusOf(job: BatchRef, seen: Seen): BatchStatus {
  const id = parseClaim(job.id);
  if (!id) return { state: 'gone' };
  const ending = seen.claim === job.id ? readExit(seen.exit) : undefined;
  if (ending) return { state: 'ended', ending };
  const elsewhere = startedElsewhere(id, seen);
  if (elsewhere) return { state: 'unknown', words: elsewhere };
  if (id.boot !== seen.boot) return { state: 'gone' };
  return id.start === seen.start || seen.left !== '' ? { state: 'running', node: seen.host } : { state: 'gone' };
}

/** A name that leads to one of several machines says nothing about processes of another. */
export function startedElsewhere(id: ProcessId, seen: Pick<Seen, 'host'>): string | undefined {
  if (id.host === seen.host) return undefined;
  return `it was started on ${id.host}, and this is ${seen.host}: name that machine in the site`;
}

/** Also for what ended without a word. Undefined while it runs, and when that cannot be seen. */
export function endingOf(job: BatchRef, seen: Seen): BatchEnding | undefined {
  const status = statusOf(job, seen);
  if (status.state === 'ended') return status.ending;
  const id = parseClaim(job.id);
  if (status.state !== 'gone' || !id) return undefined;
  if (id.boot !== seen.boot) return { cause: 'node-lost', words: `${seen.host} was started anew since` };
  if (seen.isCancelled) return { cause: 'cancelled', words: 'cancelled, and its supervisor ended too' };
  return { cause: 'failed', words: 'it was killed with its supervisor: nothing was written down' };
}

const LIMITS: ReadonlySet<string> = new Set<EndingCause>(['time-limit', 'memory-limit', 'cancelled']);

/** `CODE CAUSE` */
export function readExit(text: string): BatchEnding | undefined {
  const match = /^(\d+) ([a-z-]+)$/.exec(text.trim());
  if (!match) return undefined;
  const code = Number(match[1]);
  const how = readShellCode(code);
  if (LIMITS.has(match[2]!)) return { cause: match[2] as EndingCause, ...how };
  return { cause: code === 0 ? 'completed' : 'failed', ...how };
}
