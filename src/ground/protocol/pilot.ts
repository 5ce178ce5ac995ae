/** Pilots: workers that a site's batch system starts when tasks wait. */
import Type from 'typebox';
import { Bytes, Count, closed, Name, nullable, Seconds, TaskIdText, Time } from './schema.ts';

export const SiteName = Type.String({ pattern: '^[A-Za-z0-9_][A-Za-z0-9_.-]*$', maxLength: 50 });

/** What one pilot is: what its batch job asks for, and what its worker offers. */
const plan = {
  slots: Type.Integer({ minimum: 1, maximum: 100_000, description: 'cpus' }),
  memory: Type.Optional(Bytes),
  gpus: Type.Optional(Count),
  named: Type.Optional(Type.Record(Type.String({ maxLength: 64 }), Count)),
  labels: Type.Optional(Type.Record(Type.String({ maxLength: 64 }), Type.String({ maxLength: 256 }))),
  zone: Type.Optional(Type.String({ minLength: 1, maxLength: 128 })),
  wallTimeSeconds: Type.Number({ minimum: 60, maximum: 31_536_000 }),
  untilIdleSeconds: Type.Number({ minimum: 1, maximum: 31_536_000, description: 'it leaves when it was idle so long' }),
  projects: Type.Optional(Type.Array(Name, { minItems: 1, maxItems: 1000, description: 'all unless said otherwise' })),
  queueOptions: Type.Optional(
    Type.Array(Type.String({ minLength: 1, maxLength: 4096 }), {
      maxItems: 1000,
      description: 'for the batch system, besides those of the site',
    }),
  ),
  serverUrl: Type.Optional(
    Type.String({ pattern: '^https?://', maxLength: 2048, description: "the server's address as pilots reach it" }),
  ),
  command: Type.Optional(
    Type.Array(Type.String({ minLength: 1, maxLength: 131_072 }), {
      minItems: 1,
      maxItems: 1000,
      description: 'what a pilot runs in place of a worker of ours: a PiCaS pilot, for the tokens of its projects',
    }),
  ),
  directory: Type.Optional(
    Type.String({ pattern: '^/', maxLength: 4096, description: 'where that is run, on the machine' }),
  ),
  tunnel: Type.Optional(
    Type.Boolean({ description: 'pilots reach the server by a port of the login node, which ssh forwards' }),
  ),
};
export const PilotPlan = closed(plan);
export type PilotPlan = Type.Static<typeof PilotPlan>;

/** As an agent gets it: `workerSeconds` is how long its worker may live, `exclude` the nodes that have to rest. */
export const PilotRequest = closed({
  ...plan,
  workerSeconds: Seconds,
  exclude: Type.Array(Type.String({ maxLength: 256 }), { maxItems: 10_000 }),
});
export type PilotRequest = Type.Static<typeof PilotRequest>;

export const PilotSettingsRequest = closed({
  max: Type.Integer({ minimum: 0, maximum: 100_000, description: 'so many at once' }),
  ...plan,
});
export type PilotSettingsRequest = Type.Static<typeof PilotSettingsRequest>;

/** `queued`: no agent has taken it up yet; then as far as its agent says; `working` when its worker has come. */
export const PilotView = closed({
  task: TaskIdText,
  state: Type.String(),
  machine: nullable(Type.String()),
  batchId: nullable(Type.String()),
  detail: nullable(Type.String()),
  worker: nullable(Type.String()),
  host: nullable(Type.String()),
  queuedAt: Time,
  registeredAt: nullable(Time),
  endsAt: nullable(Time),
});
export type PilotView = Type.Static<typeof PilotView>;

/** Pilots of a site: what was set, how many the backlog is worth, and what became of them. `reasons`: what is in the way. */
export const PilotsView = closed({
  site: Type.String(),
  max: Count,
  plan: PilotPlan,
  owner: Type.String(),
  state: Type.Union([
    Type.Literal('active'),
    Type.Literal('paused'),
    Type.Literal('cooling-down'),
    Type.Literal('removed'),
  ]),
  wanted: Count,
  queued: Count,
  pending: Count,
  working: Count,
  endedToday: closed({ worked: Count, failed: Count, cancelled: Count }),
  failuresInARow: Count,
  coolUntil: nullable(Time),
  excludedNodes: Type.Array(Type.String()),
  reasons: Type.Array(Type.String()),
  pilots: Type.Array(PilotView),
});
export type PilotsView = Type.Static<typeof PilotsView>;
