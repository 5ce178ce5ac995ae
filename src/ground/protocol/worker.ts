import Type from 'typebox';
import { Offer } from './exchange.ts';
import { Count, closed, nullable, Time } from './schema.ts';

export const WorkerState = Type.Union([
  Type.Literal('alive'),
  Type.Literal('draining'),
  Type.Literal('lost'),
  Type.Literal('ended'),
]);
export const WorkerView = closed({
  id: Type.String(),
  name: Type.String(),
  host: Type.String(),
  pid: Count,
  zone: nullable(Type.String()),
  version: Type.String(),
  state: WorkerState,
  total: Offer,
  labels: Type.Record(Type.String(), Type.String()),
  running: Count,
  registeredAt: Time,
  lastSeenAt: Time,
  leaseUntil: Time,
  endsAt: nullable(Time),
});
export type WorkerView = Type.Static<typeof WorkerView>;

export const WorkerSelection = closed({
  workers: Type.Optional(Type.Array(Type.String({ maxLength: 256 }), { maxItems: 10_000 })),
  all: Type.Optional(Type.Boolean()),
});
export type WorkerSelection = Type.Static<typeof WorkerSelection>;
