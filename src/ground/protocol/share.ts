import Type from 'typebox';
import { Bytes, Count, closed, nullable } from './schema.ts';

/** How many tasks may run at once. */
const RunningLimit = nullable(Type.Integer({ minimum: 0, maximum: 1_000_000_000 }));
const Weight = Type.Number({ minimum: 0.001, maximum: 1_000_000 });

/** What is not given stays as it is; null: no limit. */
export const ShareRequest = closed({
  weight: Type.Optional(Weight),
  runningLimit: Type.Optional(RunningLimit),
  storageLimit: Type.Optional(nullable(Bytes)),
});
export type ShareRequest = Type.Static<typeof ShareRequest>;

export const ProjectLimitRequest = closed({ running: RunningLimit });
export type ProjectLimitRequest = Type.Static<typeof ProjectLimitRequest>;

/**
 * What somebody has had of late and runs now; `name` is a user, or that of a token that is nobody's. `cpuSeconds` fade:
 * those of one half-life ago count half. `storedBytes` are those of all projects that they own.
 */
export const ShareView = closed({
  name: Type.String(),
  weight: Weight,
  cpuSeconds: Type.Number({ minimum: 0 }),
  runningTasks: Count,
  runningCpus: Count,
  runningLimit: RunningLimit,
  storedBytes: Bytes,
  storageLimit: nullable(Bytes),
});
export type ShareView = Type.Static<typeof ShareView>;
