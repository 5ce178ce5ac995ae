import Type from 'typebox';
import { Count, closed, Name, Time, UserName } from './schema.ts';
import { StateCounts } from './task-state.ts';

export const ProjectRequest = closed({ name: Name });
export type ProjectRequest = Type.Static<typeof ProjectRequest>;

export const ProjectView = closed({ name: Type.String(), owner: Type.String(), createdAt: Time, counts: StateCounts });
export type ProjectView = Type.Static<typeof ProjectView>;

/** Who may enter a project. `owner` is a user, or the name of the token that made it. */
export const ProjectMembers = closed({
  project: Type.String(),
  owner: Type.String(),
  members: Type.Array(closed({ user: Type.String(), grantedBy: Type.String(), grantedAt: Time })),
});
export type ProjectMembers = Type.Static<typeof ProjectMembers>;

export const TransferRequest = closed({ to: UserName });

/** What `status` shows. `waitingCommits` and rates help to see what a busy server does. */
export const StatusView = closed({
  version: Type.String(),
  database: Type.Union([Type.Literal('sqlite'), Type.Literal('postgres')]),
  startedAt: Time,
  now: Time,
  counts: StateCounts,
  submissions: Count,
  workers: closed({ alive: Count, draining: Count, cpus: Count, busyCpus: Count }),
  /** For administrators, where there are any: trusted servers with a link, and those without one, by name. */
  neighbours: Type.Optional(closed({ connected: Count, unreachable: Type.Array(Type.String()) })),
});
export type StatusView = Type.Static<typeof StatusView>;

/** How tokens of PiCaS clients are held: so long in silence, and so often. Null: as the server does it. */
export const TokenLimitsRequest = closed({
  maxLockAgeSeconds: Type.Optional(Type.Union([Type.Number({ minimum: 1, maximum: 31_536_000 }), Type.Null()])),
  maxScrubs: Type.Optional(Type.Union([Type.Integer({ minimum: 1, maximum: 1_000_000 }), Type.Null()])),
});
export type TokenLimitsRequest = Type.Static<typeof TokenLimitsRequest>;

export const TokenLimits = closed({
  project: Type.String(),
  maxLockAgeSeconds: Type.Number(),
  maxScrubs: Type.Integer(),
});
export type TokenLimits = Type.Static<typeof TokenLimits>;

/** What a PiCaS client needs. The password is shown here and never again. */
export const ProjectCredentials = closed({
  database: Type.String(),
  user: Type.String(),
  password: Type.String(),
  /** Where the server listens for clients of CouchDB alone; none: below `/couchdb` of its own address. */
  ports: Type.Array(closed({ host: Type.String(), port: Type.Integer(), secure: Type.Boolean() })),
  /** PEM, where a client is to trust a certificate that nobody signed. */
  certificate: Type.Union([Type.String(), Type.Null()]),
});
export type ProjectCredentials = Type.Static<typeof ProjectCredentials>;
