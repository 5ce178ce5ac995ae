/** `qacct -j`: one block of `key  value` lines for each job or task of that number, oldest first. */
import type { BatchEnding, BatchName } from '../scheduler.ts';
import { readShellCode } from '../signals.ts';

export type AccountRecord = ReadonlyMap<string, string>;

export function readQacct(text: string): AccountRecord[] {
  return text
    .split(/^={10,}\s*$/m)
    .map((block) => new Map(block.split('\n').flatMap((line) => (/^\w/.test(line) ? [keyAndValue(line)] : []))))
    .filter((record) => record.has('jobnumber'));
}

/** Ids wrap: of several records with this name the last counts. */
export function endingFrom(
  text: string,
  name: BatchName,
  stderrTail: string,
  wasCancelled: boolean,
): BatchEnding | undefined {
  const record = readQacct(text).findLast((one) => one.get('jobname') === name);
  return record && toEnding(record, stderrTail, wasCancelled);
}

/**
 * `failed` is 0 for a job that ended by itself, 37 when a limit was enforced, 100 after a signal (also qdel's, which
 * leaves no other trace); lower numbers are the host's troubles before the job's script ran (sge_status(5)).
 */
function toEnding(record: AccountRecord, stderrTail: string, wasCancelled: boolean): BatchEnding {
  const failed = Number.parseInt(record.get('failed') ?? '0', 10);
  // `137 (Killed)` where others write 137.
  const status = Number.parseInt(record.get('exit_status') ?? '0', 10);
  const words = `failed ${record.get('failed')?.trim()}, exit_status ${record.get('exit_status')?.trim()}`;
  const how = readShellCode(status);
  if (failed > 0 && failed < 37 && failed !== 25) return { cause: 'start-failed', words };
  const limit = limitOf(record, failed);
  if (limit) return { cause: limit, ...how, words };
  if (wasCancelled && failed === 100) return { cause: 'cancelled', ...how, words };
  if (isOutOfMemory(record, stderrTail) && status !== 0) return { cause: 'memory-limit', ...how, words };
  if (failed === 0 && status === 0) return { cause: 'completed', exitCode: 0 };
  return { cause: 'failed', ...how, words };
}

/**
 * Which limit it was Grid Engine does not say: what was used is compared with what was asked for. A limit by the queue
 * alone leaves no trace but the 37.
 */
function limitOf(record: AccountRecord, failed: number): 'time-limit' | 'memory-limit' | undefined {
  if (failed !== 37 && failed !== 100) return undefined;
  const asked = requests(record);
  const memory = readSize(asked.get('h_vmem') ?? asked.get('s_vmem')) * slotsOf(record);
  const time = readSeconds(asked.get('h_rt'));
  if (memory > 0 && readSize(record.get('maxvmem')) >= memory * 0.95) return 'memory-limit';
  if (time > 0 && readSeconds(record.get('ru_wallclock')) >= time) return 'time-limit';
  if (failed === 37) return memory > 0 && time === 0 ? 'memory-limit' : 'time-limit';
  return undefined;
}

/** h_vmem is also a limit of each process (setrlimit): mostly a program is refused memory, says so and gives up. */
function isOutOfMemory(record: AccountRecord, stderrTail: string): boolean {
  const words = /memory exhausted|cannot allocate memory|bad_alloc|MemoryError|out of memory|virtual memory exhausted/i;
  return requests(record).has('h_vmem') && words.test(stderrTail);
}

/** `-u alice -l h_rt=3,h_vmem=200M -pe smp 2` */
function requests(record: AccountRecord): Map<string, string> {
  const lists = [...(record.get('category') ?? '').matchAll(/-l (\S+)/g)].flatMap(([, list = '']) => list.split(','));
  return new Map(lists.map((pair) => [pair.split('=')[0]!, pair.split('=')[1] ?? '']));
}

function slotsOf(record: AccountRecord): number {
  return Math.max(1, Number.parseInt(record.get('slots') ?? '1', 10) || 1);
}

/** `200M`, `3.488MB`, `157286400.000` */
export function readSize(text: string | undefined): number {
  const match = /^([\d.]+)\s*([KMGT]?)B?$/i.exec(text?.trim() ?? '');
  return match ? Number(match[1]) * 1024 ** ' KMGT'.indexOf((match[2] || ' ').toUpperCase()) : 0;
}

/** `3`, `4s`, `0:10:0` */
export function readSeconds(text: string | undefined): number {
  const parts = (text ?? '').trim().replace(/s$/, '').split(':').map(Number);
  const seconds = parts.reduce((sum, part) => sum * 60 + part, 0);
  return Number.isNaN(seconds) ? 0 : seconds;
}

function keyAndValue(line: string): [string, string] {
  const key = /^\w+/.exec(line)![0];
  return [key, line.slice(key.length).trim()];
}
