import Type from 'typebox';
import { Count, closed, Name, Time } from './schema.ts';
import { StateCounts } from './task-state.ts';

export const ProjectRequest = closed({ name: Name });
export type ProjectRequest = Type.Static<typeof ProjectRequest>;

export const ProjectView = closed({ name: Type.String(), owner: Type.String(), createdAt: Time, counts: StateCounts });
export type ProjectView = Type.Static<typeof ProjectView>;

/** What `status` shows. `waitingCommits` and rates help to see what a busy server does. */
export const StatusView = closed({
  version: Type.String(),
  database: Type.Union([Type.Literal('sqlite'), Type.Literal('postgres')]),
  startedAt: Time,
  now: Time,
  counts: StateCounts,
  submissions: Count,
  workers: closed({ alive: Count, draining: Count, cpus: Count, busyCpus: Count }),
});
export type StatusView = Type.Static<typeof StatusView>;
