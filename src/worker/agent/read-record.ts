import { createHash } from 'node:crypto';
import { JOB_STATES, type JobState, type RecordEntry } from '../../ground/protocol/job.ts';

/** A sub-job that a program wrote down. */
export interface SubJob {
  readonly id: string;
  readonly name: string | null;
  readonly state: JobState;
  readonly command?: readonly string[];
  readonly reason?: string;
}

const MOST_LINES = 100_000;

/**
 * The record that was kept on the machine, line by line: what our script wrote, and what the program added
 * (docs/jobs.md). Lines without an id get one from their place, so that the same record gives the same entries. A line
 * that cannot be used becomes a note that says so.
 */
export function readRecordLines(text: string, name: string): { entries: RecordEntry[]; jobs: SubJob[] } {
  const entries: RecordEntry[] = [];
  const jobs: SubJob[] = [];
  const lines = text.split('\n');
  // What has no time gets the last one before it: the same record is to give the same.
  let lastTime = new Date(0).toISOString();
  for (const [at, line] of lines.slice(0, MOST_LINES).entries()) {
    if (line.trim() === '') continue;
    const value = parse(line);
    lastTime = [value?.at, value?.finishedAt, value?.startedAt].find(isTime) ?? lastTime;
    const id =
      typeof value?.id === 'string' && value.id !== '' ? `${name}:${value.id}`.slice(0, 128) : `${name}-line-${at + 1}`;
    const job = value?.kind === 'job' ? toJob(value, id) : undefined;
    if (job) jobs.push(job);
    else
      entries.push(
        toEntry(value, id, lastTime) ??
          note(id, `line ${at + 1} of the record cannot be read: ${line.slice(0, 200)}`, lastTime),
      );
  }
  if (lines.length > MOST_LINES)
    entries.push(note(`${name}-cut`, `of the record's ${lines.length} lines the first ${MOST_LINES} count`, lastTime));
  return { entries, jobs };
}

/** A sub-job is the same wherever its record is merged. */
export function uidOf(job: string, id: string): string {
  return createHash('sha256').update(`${job}\0${id}`).digest('hex').slice(0, 32);
}

function parse(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function toEntry(value: Record<string, unknown> | undefined, id: string, lastTime: string): RecordEntry | undefined {
  switch (value?.kind) {
    case 'process': {
      const { host, pid, startedAt } = value;
      if (typeof host !== 'string' || !isCount(pid) || !isTime(startedAt)) return undefined;
      return { kind: 'process', id, host, pid, startedAt };
    }
    case 'step': {
      const { name, startedAt, finishedAt, exitCode } = value;
      if (typeof name !== 'string') return undefined;
      return {
        kind: 'step',
        id,
        name: name.slice(0, 1000),
        ...(isTime(startedAt) ? { startedAt } : {}),
        ...(isTime(finishedAt) ? { finishedAt } : {}),
        ...(Number.isSafeInteger(exitCode) ? { exitCode: exitCode as number } : {}),
      };
    }
    case 'file': {
      const { path, role, digest, size } = value;
      if (typeof path !== 'string') return undefined;
      return {
        kind: 'file',
        id,
        path: path.slice(0, 4096),
        role: role === 'input' ? 'input' : 'output',
        ...(typeof digest === 'string' && /^[0-9a-f]{64}$/.test(digest) ? { digest } : {}),
        ...(isCount(size) ? { size } : {}),
      };
    }
    case 'note':
      return typeof value.text === 'string' ? note(id, value.text, isTime(value.at) ? value.at : lastTime) : undefined;
    default:
      return undefined;
  }
}

function toJob(value: Record<string, unknown>, id: string): SubJob | undefined {
  const { name, state, command, reason } = value;
  const known = JOB_STATES.find((one) => one === state);
  if (!known) return undefined;
  const words = Array.isArray(command) && command.every((word) => typeof word === 'string') ? command : undefined;
  return {
    id,
    name: typeof name === 'string' ? name.slice(0, 256) : null,
    state: known,
    ...(words ? { command: words } : {}),
    ...(typeof reason === 'string' ? { reason: reason.slice(0, 4000) } : {}),
  };
}

function note(id: string, text: string, at: string): RecordEntry {
  return { kind: 'note', id, at, text: text.slice(0, 4000) };
}

function isTime(value: unknown): value is string {
  return typeof value === 'string' && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/.test(value);
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
