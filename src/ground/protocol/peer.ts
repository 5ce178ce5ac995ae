/** Peers: other Pilotage servers. What administrators see of them, and what two servers tell each other. */
import Type from 'typebox';
import { Count, closed, Name, nullable, TaskIdText, Time } from './schema.ts';

/** SHA-256 of a server's certificate, hex: what a server is known by, whatever its address. */
export const PeerId = Type.String({ pattern: '^[0-9a-f]{64}$' });
/** In commands the first digits of an id do, or the name that the server has here. */
export const PeerText = Type.String({ pattern: '^[A-Za-z0-9_.:-]{1,128}$' });
export const Host = Type.String({
  pattern: '^[A-Za-z0-9_.:-]{1,253}$',
  description: 'the name or address of a machine',
});
export const Port = Type.Integer({ minimum: 1, maximum: 65_535 });
export const Place = closed({ host: Host, port: Port });
export type Place = Type.Static<typeof Place>;
const PeerName = Type.String({ pattern: '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$' });

/** From when to when on each day, by the clock of the server that lends: `20:00-06:00`. */
const Hours = Type.String({
  pattern: '^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$',
  description: 'from when to when, as in 20:00-06:00',
});

/**
 * What one server lends another: its workers' time. `share` of the cpus of all workers, workers with certain labels,
 * certain hours, tasks of certain projects of the other one. What is left out is not narrowed; `share` 0 lends nothing.
 */
export const Terms = closed({
  share: Type.Optional(Type.Number({ minimum: 0, maximum: 1 })),
  labels: Type.Optional(Type.Record(Type.String({ maxLength: 64 }), Type.String({ maxLength: 256 }))),
  hours: Type.Optional(Type.Array(Hours, { minItems: 1, maxItems: 10 })),
  projects: Type.Optional(Type.Array(Name, { minItems: 1, maxItems: 1000 })),
  /** Of our own projects those whose tasks may go there; all unless told. */
  send: Type.Optional(Type.Array(Name, { maxItems: 1000 })),
});
export type Terms = Type.Static<typeof Terms>;

/**
 * `sent`: we asked, it has not answered. `received`: it asked us. `connected`, `unreachable`: trusted on both sides, with
 * a link or without one. `revoked`: it ended the trust, or no longer knows us.
 */
export const PeerState = Type.Union([
  Type.Literal('sent'),
  Type.Literal('received'),
  Type.Literal('connected'),
  Type.Literal('unreachable'),
  Type.Literal('revoked'),
]);
export type PeerState = Type.Static<typeof PeerState>;

export const PeerView = closed({
  id: PeerId,
  name: Type.String(),
  state: PeerState,
  /** Asked for work in this order, 0 first. Null until it is trusted. */
  priority: nullable(Count),
  host: nullable(Type.String()),
  port: nullable(Port),
  since: Time,
  lastContact: nullable(Time),
  /** Why there is no link, as of the last try. */
  error: nullable(Type.String()),
  version: nullable(Type.String()),
  /** Of ours to them. */
  terms: Terms,
  /** Of theirs to us, as they told. */
  theirTerms: nullable(Terms),
  /** CPU hours: of our workers for its tasks (or for tasks that came through it), and of its workers for ours. */
  lentHours: Type.Number(),
  borrowedHours: Type.Number(),
  /** Tasks of its that are here now, and tasks of ours that are there. */
  here: Count,
  there: Count,
});
export type PeerView = Type.Static<typeof PeerView>;

/** This server, as others know it. */
export const PeerSelf = closed({ id: PeerId, name: Type.String(), places: Type.Array(Place) });
export type PeerSelf = Type.Static<typeof PeerSelf>;

export const PeerList = closed({ self: PeerSelf, peers: Type.Array(PeerView) });
export type PeerList = Type.Static<typeof PeerList>;

/** What a server tells of itself and its neighbours, and others pass on. `stamp` grows: the newest word counts. */
export const MapEntry = closed({
  id: PeerId,
  name: Type.String({ maxLength: 64 }),
  stamp: Count,
  places: Type.Array(Place, { maxItems: 8 }),
  neighbours: Type.Array(PeerId, { maxItems: 200 }),
});
export type MapEntry = Type.Static<typeof MapEntry>;

export const PeerDetail = closed({
  ...PeerView.properties,
  certificate: Type.String(),
  places: Type.Array(Place),
  /** The network as far as it was told, this server first. */
  topology: Type.Array(MapEntry),
});
export type PeerDetail = Type.Static<typeof PeerDetail>;

export const ConnectRequest = closed({ host: Host, port: Type.Optional(Port) });
export type ConnectRequest = Type.Static<typeof ConnectRequest>;
export const PriorityRequest = closed({ priority: Type.Integer({ minimum: 0, maximum: 10_000 }) });

export const PingReply = closed({
  milliseconds: Type.Number(),
  path: Type.Array(PeerId),
  names: Type.Array(Type.String()),
});
export type PingReply = Type.Static<typeof PingReply>;

/** How a server introduces itself: in a request to connect, and in the answer. Nothing but the certificate identifies it. */
export const Introduction = closed({
  protocol: Type.Integer(),
  version: Type.String({ maxLength: 64 }),
  name: PeerName,
  certificate: Type.String({ minLength: 1, maxLength: 8192 }),
  places: Type.Array(Place, { maxItems: 8 }),
});
export type Introduction = Type.Static<typeof Introduction>;

/** What a server has more of than its own workers can take now. `path`: the servers it came through, its home first. */
export const Demand = closed({
  shape: Type.String({ maxLength: 4096 }),
  project: Type.String({ maxLength: 256 }),
  path: Type.Array(PeerId, { minItems: 1, maxItems: 16 }),
});
export type Demand = Type.Static<typeof Demand>;

/** Told over a link when it is made, and whenever something of it changed. */
export const PeerNews = closed({
  version: Type.String({ maxLength: 64 }),
  name: Type.String({ maxLength: 64 }),
  places: Type.Array(Place, { maxItems: 8 }),
  /** What the sender lends the receiver. */
  terms: Terms,
  demand: Type.Array(Demand, { maxItems: 1000 }),
  map: Type.Array(MapEntry, { maxItems: 500 }),
});
export type PeerNews = Type.Static<typeof PeerNews>;

/** A ping on its way to a server; `path` are those that it came through. */
export const PingRequest = closed({ to: PeerId, path: Type.Array(PeerId, { maxItems: 16 }) });
export type PingRequest = Type.Static<typeof PingRequest>;
export const PongReply = closed({ path: Type.Array(PeerId) });

/** Where a borrowed task is at home: what its program sees, and what its results belong to. */
export const Home = closed({
  server: PeerId,
  name: Type.String({ maxLength: 64 }),
  project: Type.String({ maxLength: 256 }),
  task: TaskIdText,
  attempt: Type.Integer({ minimum: 1 }),
  /** The servers that it came through so far, its home first. */
  path: Type.Array(PeerId, { minItems: 1, maxItems: 16 }),
});
export type Home = Type.Static<typeof Home>;
