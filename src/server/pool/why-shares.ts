import type { Principal } from '../access/principal.ts';
import { fits, type WorkerFacts } from '../core/shape.ts';
import type { Standing, StandingFacts, Waiting } from '../store/verbs/standing.ts';
import type { Reason } from './why-reason.ts';

/** A worker that could run the task, and the projects whose tasks it takes; null is all. */
export interface AbleWorker {
  readonly facts: WorkerFacts;
  readonly projects: readonly number[] | null;
}

/** A limit of its owner or its project is reached: no worker may take it, however many are idle. */
export function ofLimits({ own, reached }: StandingFacts, project: string): Reason[] {
  return reached.map(({ of, limit, running }) => {
    const whose = of === 'user' ? `'${own.owner}' has` : `project '${project}' has`;
    const command = of === 'user' ? `user limit ${own.owner}` : `project limit ${project}`;
    return {
      code: 'running-limit',
      text: `${whose} ${tasks(running)} running and may have ${limit}: it starts when ${running > 0 ? 'one of them ends, or when ' : ''}an administrator allows more ('pilotage ${command} --running N')`,
      numbers: { running, limit },
    };
  });
}

/** Others who have had less have tasks waiting for the same workers. */
export function ofFairShare(facts: StandingFacts, able: readonly AbleWorker[], who: Principal): Reason[] {
  const { own, before } = facts;
  const others = before.filter(({ waiting }) => waiting.some((one) => able.some((worker) => mayTake(worker, one))));
  const [least] = others;
  if (!least) return [];
  const has = others.length === 1 ? '1 other has' : `${others.length} others have`;
  const self = own.owner === who.name ? 'you' : own.owner;
  const your = self === 'you' ? 'your next slot' : `the next slot of ${self}`;
  const theirs = others.length === 1 ? `that of ${least.owner}` : 'theirs';
  return [
    {
      code: 'fair-share',
      text: `${has} had less of late: ${describe(least.owner, least)}, ${describe(self, own)}; ${your} comes after ${theirs}`,
      numbers: { others: others.length, ...numbersOf('own', own), ...numbersOf('least', least) },
    },
  ];
}

function mayTake({ facts, projects }: AbleWorker, { shape, projectId }: Waiting): boolean {
  return fits(shape, facts) && (projects === null || projects.includes(projectId));
}

function describe(name: string, { account, weight }: Standing): string {
  return `${name} ${hours(account.slotSeconds)} CPU hours and ${tasks(account.tasks)} running (weight ${weight})`;
}

function hours(seconds: number): string {
  const n = Math.max(0, seconds) / 3600;
  return n > 0 && n < 0.1 ? n.toPrecision(1) : n.toFixed(1);
}

function tasks(n: number): string {
  return `${n} ${n === 1 ? 'task' : 'tasks'}`;
}

function numbersOf(whose: string, { account, weight }: Standing): Record<string, number> {
  return {
    [`${whose}CpuSeconds`]: account.slotSeconds,
    [`${whose}Running`]: account.tasks,
    [`${whose}Weight`]: weight,
  };
}
