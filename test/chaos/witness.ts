import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/** What programs and the submitting client wrote down themselves, outside of the system under test. */
export interface Witness {
  /** The command that a task runs: notes its start and end, and takes a moment in between. */
  readonly command: readonly string[];
  /** `input`: what the file holds that each of its tasks gets, if it gets one. */
  acknowledged(submission: number, tasks: number, input?: string): void;
  read(): Testimony;
}

export interface Testimony {
  /** Tasks of submissions that were acknowledged. */
  readonly acknowledged: ReadonlyMap<number, number>;
  /** What the input file of these submissions holds. A task puts it and its own id into its output. */
  readonly inputs: ReadonlyMap<number, string>;
  /** How often the program of an attempt (`12.3/1`) started. */
  readonly started: ReadonlyMap<string, number>;
  readonly ended: ReadonlySet<string>;
}

// One echo of less than a page into a file opened for appending is one write: lines do not mix.
const SCRIPT =
  'echo "S $PILOTAGE_TASK_ID/$PILOTAGE_ATTEMPT" >> "$WITNESS"; sleep "$1"; [ ! -e in.txt ] || { cat in.txt; echo "$PILOTAGE_TASK_ID"; } > out.txt; echo "E $PILOTAGE_TASK_ID/$PILOTAGE_ATTEMPT" >> "$WITNESS"';

export function createWitness(directory: string): Witness {
  const programs = join(directory, 'programs');
  const client = join(directory, 'client');
  closeSync(openSync(programs, 'a'));
  const file = openSync(client, 'a');
  return {
    command: ['/usr/bin/env', `WITNESS=${programs}`, 'sh', '-c', SCRIPT, 'task', '{pause}'],
    acknowledged(submission, tasks, input) {
      writeSync(file, `${submission} ${tasks}${input === undefined ? '' : ` ${input}`}\n`);
      fsyncSync(file);
    },
    read() {
      const lines = readFileSync(programs, 'utf8')
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => line.split(' '));
      const started = new Map<string, number>();
      const ended = new Set<string>();
      for (const [what, attempt = ''] of lines) {
        if (what === 'S') started.set(attempt, (started.get(attempt) ?? 0) + 1);
        if (what === 'E') ended.add(attempt);
      }
      const submissions = readFileSync(client, 'utf8')
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => line.split(' '));
      const acknowledged = new Map(submissions.map(([id, tasks]) => [Number(id), Number(tasks)]));
      const inputs = new Map(
        submissions.flatMap(([id, , input]) => (input === undefined ? [] : [[Number(id), input] as const])),
      );
      return { acknowledged, inputs, started, ended };
    },
  };
}

/** Tasks whose program runs just now: started, not ended. */
export function runningPrograms(testimony: Testimony): number {
  return [...testimony.started.keys()].filter((attempt) => !testimony.ended.has(attempt)).length;
}
