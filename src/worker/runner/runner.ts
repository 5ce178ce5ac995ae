import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { removeDirectory } from '../../ground/content/remove-directory.ts';
import type { Assignment, AttemptRun, Lane, RunnerOptions } from './attempt-run.ts';
import { endMarked } from './end-marked.ts';
import { findMarked } from './marked-processes.ts';
import { runAttempt } from './run-attempt.ts';
import { createSampler } from './sampler.ts';
import { type SpawnerLink, startSpawner } from './spawner-link.ts';
import { monotonicMs } from './spawner-messages.ts';

/** Runs programs of this machine, each in its own sandbox and process group. */
export interface Runner {
  openLane(): Lane;
  closeLane(lane: Lane): void;
  run(assignment: Assignment): AttemptRun;
  /** The report is delivered: the sandbox goes, once nothing runs in it. */
  settled(task: string, attempt: number): void;
  /** Ends everything that runs. Resolves when it is gone. */
  close(): Promise<void>;
}

/** How often processes are looked for that outlived their attempt by leaving its process group. */
const SWEEP_MS = 2000;

export async function startRunner(options: RunnerOptions): Promise<Runner> {
  const left = await endMarked(`${options.workId}:`);
  if (left > 0) options.told(`ended ${left} processes that an earlier worker had left running here`);
  await removeDirectory(options.directory);
  await mkdir(options.directory, { recursive: true, mode: 0o700 });

  const sampler = createSampler(monotonicMs);
  const spawners = Array.from({ length: options.spawners }, () =>
    startSpawner({ baseEnv: options.baseEnv, mark: `${options.workId}:`, told: options.told }),
  );
  const runs = new Map<string, { run: AttemptRun; spawner: SpawnerLink; directory: string }>();
  const sweeper = startSweeper(options, (mark) => runs.has(mark));

  let laneCount = 0;
  return {
    openLane: () => {
      const spawner = leastLoaded(spawners);
      spawner.openLane();
      laneCount += 1;
      return { id: String(laneCount), spawner };
    },
    closeLane: (lane) => lane.spawner.closeLane(),
    run: (assignment) => {
      const { task, attempt } = assignment.claim;
      const id = `${task}-${attempt}`;
      const mark = `${options.workId}:${task}:${attempt}:`;
      const directory = path.join(options.directory, id);
      const { spawner } = assignment.lane;
      const run = runAttempt({ ...assignment, id, mark, directory, sampler, options });
      runs.set(mark, { run, spawner, directory });
      void run.programEnded.then(() => sweeper.due());
      return run;
    },
    settled: (task, attempt) => {
      const mark = `${options.workId}:${task}:${attempt}:`;
      const known = runs.get(mark);
      void known?.run.ended.then(() => {
        runs.delete(mark);
        options.staging.settled(path.join(known.directory, 'sandbox'));
        if (!options.keepSandboxes) known.spawner.remove([known.directory]);
      });
    },
    close: async () => {
      sweeper.close();
      sampler.close();
      await Promise.all(spawners.map((spawner) => spawner.close()));
      await endMarked(`${options.workId}:`);
    },
  };
}

function leastLoaded(spawners: readonly SpawnerLink[]): SpawnerLink {
  return spawners.reduce((best, next) => (next.lanes < best.lanes ? next : best));
}

/** Looks now and then for processes whose attempt is over, but only when some attempt ended since. */
function startSweeper(options: RunnerOptions, isRunning: (mark: string) => boolean): { due(): void; close(): void } {
  let wanted = false;
  let sweeping = false;
  const sweep = async (): Promise<void> => {
    if (!wanted || sweeping) return;
    wanted = false;
    sweeping = true;
    const prefix = `${options.workId}:`;
    const isStray = ({ mark }: { mark: string }): boolean => !isRunning(mark);
    if (findMarked(prefix).some(isStray)) {
      const count = await endMarked(prefix, isStray);
      if (count > 0) options.told(`ended ${count} processes that had outlived their task`);
    }
    sweeping = false;
  };
  const timer = setInterval(() => void sweep(), SWEEP_MS);
  return {
    due: () => {
      wanted = true;
    },
    close: () => clearInterval(timer),
  };
}
