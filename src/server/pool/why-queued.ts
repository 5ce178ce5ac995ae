import { formatDuration } from '../../ground/base/duration.ts';
import { formatSize } from '../../ground/base/size.ts';
import type { Principal } from '../access/principal.ts';
import { fits, type Obstacle, obstacles, parseShapeKey, type Shape, type WorkerFacts } from '../core/shape.ts';
import type { TaskDetailRow } from '../store/verbs/read-tasks.ts';
import type { WorkerRow } from '../store/verbs/workers.ts';
import type { Parts } from './parts.ts';
import { whyNoPilot } from './pilot-reasons.ts';
import { whyNoNeighbour } from './why-neighbours.ts';
import { lossesOf, type Reason } from './why-reason.ts';
import { ofFairShare, ofLimits } from './why-shares.ts';
import { workerFacts } from './worker-facts.ts';

/** Why nobody has claimed it yet: a limit is reached, no worker could ever, none has room, or others come first. */
export async function ofQueued(parts: Parts, who: Principal, row: TaskDetailRow): Promise<Reason[]> {
  const { halfLifeMs } = parts.settings;
  const standing = await parts.store.findStanding({ submission: row.submission_id, halfLifeMs });
  if (!standing) return ofWorkers(parts, row, () => []);
  const limits = ofLimits(standing, row.project);
  if (limits.length > 0) return [...limits, ...lossesOf(row)];
  return ofWorkers(parts, row, (able) => ofFairShare(standing, able.map(toAble), who));
}

function toAble(worker: WorkerRow) {
  return { facts: workerFacts(worker), projects: projectsOf(worker) };
}

/** Ids; null is all. */
function projectsOf({ projects }: WorkerRow): readonly number[] | null {
  return projects === null ? null : JSON.parse(projects);
}

type Shares = (able: readonly WorkerRow[]) => Reason[];

async function ofWorkers(parts: Parts, row: TaskDetailRow, shares: Shares): Promise<Reason[]> {
  const shape = parseShapeKey(row.shape);
  const all = (await parts.store.listWorkers({ all: false })).filter((worker) => worker.state === 'alive');
  const alive = all.filter((worker) => projectsOf(worker)?.includes(row.project_id) ?? true);
  if (shape.kind === 'site') return ofSiteJob(shape, row.project, { own: alive.map(workerFacts), all });
  const rows = alive.filter(isWorker);
  const others = all.filter(isWorker).length - rows.length;
  const working = rows.filter((worker) => worker.instruction === 'work');
  const before = await parts.store.queuedBefore({ submission: row.submission_id, priority: row.priority });
  const place: Reason[] =
    before === 0
      ? []
      : [
          {
            code: 'queue-place',
            text: `${before} queued ${before === 1 ? 'task' : 'tasks'} of earlier or more urgent submissions ${before === 1 ? 'comes' : 'come'} first`,
            numbers: { before },
          },
        ];
  const pilots = [
    ...(await whyNoPilot(parts, shape, row.project)),
    ...(await whyNoNeighbour(parts, shape, row.project)),
  ];
  const able = working.filter((worker) => fits(shape, workerFacts(worker)));
  if (shape.kind === 'payload' && able.length === 0) return [NO_CLIENT, ...pilots, ...place, ...lossesOf(row)];
  if (rows.length === 0) return [others > 0 ? noneTakes(row.project, others) : NO_WORKERS, ...pilots, ...place];
  if (able.length === 0)
    return [...impossible(shape, working.map(workerFacts), rows.length - working.length), ...pilots, ...place];
  const busy = able.filter((worker) => worker.running > 0).length;
  const numbers = { able: able.length, workers: working.length, busy };
  const first = busy === able.length ? shares(able) : [];
  const text =
    busy === able.length
      ? `${able.length} of ${working.length} workers could run it, and all of them are at work on other tasks`
      : `${able.length - busy} of ${working.length} workers could run it and have nothing else to do: one will take it in a moment`;
  return [
    ...first,
    { code: 'workers-busy', text, numbers },
    ...(busy === able.length ? pilots : []),
    ...place,
    ...lossesOf(row),
  ];
}

/** In the name of clients of the CouchDB face, which claim nothing by themselves, there are workers too. */
function isWorker(worker: WorkerRow): boolean {
  return worker.batch_hold === 0 && !workerFacts(worker).kinds.includes('token');
}

const NO_WORKERS: Reason = {
  code: 'no-workers',
  text: "no worker is there: start one with 'pilotage worker', or the server with --workers N",
  numbers: { workers: 0 },
};

function noneTakes(project: string, others: number): Reason {
  return {
    code: 'no-worker-for-project',
    text: `none of ${others} ${others === 1 ? 'worker' : 'workers'} takes tasks of project '${project}': start one with 'pilotage worker' as somebody who may enter it, or with a token that is good for it`,
    numbers: { others },
  };
}

const NO_CLIENT: Reason = {
  code: 'no-client',
  text: 'it has no command for our workers: a program that takes such tasks by itself has to come, a PiCaS pilot or one of your own',
  numbers: {},
};

/** A job for a site waits for the agent that serves it. */
function ofSiteJob(
  shape: Shape,
  project: string,
  { own, all }: { readonly own: readonly WorkerFacts[]; readonly all: readonly WorkerRow[] },
): Reason[] {
  const site =
    Object.keys(shape.labels)
      .find((label) => label.startsWith('site:'))
      ?.slice('site:'.length) ?? '';
  const able = own.filter((worker) => fits(shape, worker)).length;
  if (able > 0)
    return [
      { code: 'agent-busy', text: `the agent that serves site '${site}' will take it in a moment`, numbers: { able } },
    ];
  const others = all.filter((worker) => fits(shape, workerFacts(worker))).length;
  if (others > 0)
    return [
      {
        code: 'no-agent-for-project',
        text: `the agent that serves site '${site}' takes no jobs of project '${project}': run 'pilotage agent' as somebody who may log in there and enter the project`,
        numbers: { others },
      },
    ];
  return [
    {
      code: 'no-agent',
      text: `no agent is there that serves site '${site}': run 'pilotage agent' as the user who may log in there ('pilotage site show ${site}' says whether it knows the site)`,
      numbers: { agents: own.filter(({ kinds }) => kinds.includes('site')).length },
    },
  ];
}

function impossible(shape: Shape, workers: readonly WorkerFacts[], leaving: number): Reason[] {
  const found = new Map<Obstacle, number>();
  for (const worker of workers)
    for (const obstacle of obstacles(shape, worker)) found.set(obstacle, (found.get(obstacle) ?? 0) + 1);
  const reasons = [...found]
    .sort((a, b) => b[1] - a[1])
    .map(([obstacle, count]) => toReason(shape, workers, obstacle, count));
  const draining = {
    code: 'workers-draining',
    text: `${leaving} workers are ending and take nothing new`,
    numbers: { leaving },
  };
  return [
    {
      code: 'no-worker-fits',
      text: `none of ${workers.length} workers has what it asks for`,
      numbers: { workers: workers.length },
    },
    ...reasons,
    ...(leaving > 0 ? [draining] : []),
  ];
}

function toReason(shape: Shape, workers: readonly WorkerFacts[], obstacle: Obstacle, count: number): Reason {
  const most = (pick: (worker: WorkerFacts) => number) =>
    workers.reduce((best, worker) => Math.max(best, pick(worker)), 0);
  const less = `${count} of ${workers.length} workers have less`;
  const said = (text: string, asked: number, largest: number) => ({
    code: `too-little-${obstacle.split(':')[0]}`,
    text,
    numbers: { asked, largest, workers: count },
  });
  switch (obstacle) {
    case 'cpus': {
      const largest = most((worker) => worker.total.cpus);
      return said(`it asks for ${shape.cpus} cpus; ${less}, the largest has ${largest}`, shape.cpus, largest);
    }
    case 'memory': {
      const largest = most((worker) => worker.total.memory);
      return said(
        `it asks for ${formatSize(shape.memory)} of memory; ${less}, the largest has ${formatSize(largest)}`,
        shape.memory,
        largest,
      );
    }
    case 'gpus': {
      const largest = most((worker) => worker.total.gpus);
      return said(`it asks for ${shape.gpus} gpus; ${less}, the largest has ${largest}`, shape.gpus, largest);
    }
    case 'wall-time': {
      const largest = most((worker) => worker.remainingSeconds ?? Number.MAX_SAFE_INTEGER);
      return said(
        `it asks for ${formatDuration(shape.timeRequestSeconds)} of time; ${count} workers end before that, the longest has ${formatDuration(largest)} left`,
        shape.timeRequestSeconds,
        largest,
      );
    }
    case 'label':
      return {
        code: 'label',
        text: `it asks for ${Object.entries(shape.labels)
          .map(([name, value]) => `${name}=${value}`)
          .join(', ')}; ${count} of ${workers.length} workers have other labels`,
        numbers: { workers: count },
      };
    case 'kind':
      return {
        code: 'kind',
        text: `${count} of ${workers.length} workers take other kinds of task (this one ${shape.kind === 'command' ? 'runs a command' : 'is a payload without a command'})`,
        numbers: { workers: count },
      };
    default: {
      const name = obstacle.slice('named:'.length);
      const largest = most((worker) => worker.total.named[name] ?? 0);
      return said(
        `it asks for ${shape.named[name]} ${name}; ${less}, the largest has ${largest}`,
        shape.named[name] ?? 0,
        largest,
      );
    }
  }
}
