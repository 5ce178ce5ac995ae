/** What Slurm keeps of jobs that ended: `scontrol -o show job` for MinJobAge seconds, `sacct` where there is accounting. */
import type { BatchEnding, BatchName } from '../scheduler.ts';
import { isEnd, phaseOf, toEnding } from './states.ts';

export const SACCT_FORMAT = 'JobIDRaw,State,ExitCode,Start,JobName%80';

export interface AccountedJob {
  readonly id: string;
  readonly name: string;
  readonly state: string;
  readonly ending: BatchEnding | undefined;
}

/** Lines of `sacct -n -P -o SACCT_FORMAT`: jobs, each with its steps (`19.batch`) below. A requeued job has several. */
export function readAccounting(text: string): AccountedJob[] {
  const lines = text.split('\n').map((line) => line.split('|'));
  const jobs = lines.filter((fields) => fields.length >= 5 && /^\d+$/.test(fields[0]!));
  return jobs.map(([id = '', state = '', code = '', , ...name]) => {
    const step = lines.findLast(([stepId]) => stepId === `${id}.batch`);
    return { id, name: name.join('|').trim(), state, ending: accountedEnding(state, code, step?.[2]) };
  });
}

/** A cancelled job shows 0:0, its batch step what ended it. */
function accountedEnding(state: string, code: string, stepCode: string | undefined): BatchEnding | undefined {
  const phase = phaseOf(state);
  if (phase === undefined || !isEnd(phase)) return undefined;
  const told = readCode(code);
  const [exit, signal] = told[0] === 0 && told[1] === 0 && phase !== 'completed' ? readCode(stepCode ?? code) : told;
  return toEnding(phase, exit, signal, `${state}, exit code ${code}`);
}

/** A line of `scontrol -o show job`. Undefined unless it is about a job of this name, and that has ended. */
export function readRecord(text: string, name: BatchName): BatchEnding | undefined {
  const line = text.split('\n').find((candidate) => field(candidate, 'JobName') === name);
  const state = line && field(line, 'JobState');
  const phase = state && phaseOf(state);
  if (!line || !phase || !isEnd(phase)) return undefined;
  return toEnding(phase, ...readCode(field(line, 'ExitCode') ?? ''), `${state} ${field(line, 'Reason') ?? ''}`);
}

function field(line: string, key: string): string | undefined {
  return new RegExp(`(?:^| )${key}=(\\S*)`).exec(line)?.[1];
}

/** `code:signal` */
function readCode(text: string): [number, number] {
  const [code, signal] = text.split(':').map(Number);
  return [code || 0, signal || 0];
}
