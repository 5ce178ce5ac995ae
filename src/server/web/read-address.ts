import type { FastifyRequest } from 'fastify';
import type { Route } from '../../ground/protocol/route.ts';

/** In an address everything is text: what reads as a number or a truth value is meant as one, where the schema says so. */
const TEXTS = new Set([
  'project',
  'after',
  'state',
  'stream',
  'upload',
  'service',
  'user',
  'action',
  'since',
  'until',
  'transferTo',
]);

export async function readQuery(request: FastifyRequest): Promise<void> {
  const given = Object.entries(request.query as Record<string, string>);
  request.query = Object.fromEntries(given.map(([key, value]) => [key, TEXTS.has(key) ? value : fromText(value)]));
}

function fromText(value: string): unknown {
  if (value === 'true' || value === 'false') return value === 'true';
  return value !== '' && Number.isFinite(Number(value)) ? Number(value) : value;
}

export function readId(route: Route) {
  return async (request: FastifyRequest): Promise<void> => {
    request.params = idAsNumber(route, request.params);
  };
}

function idAsNumber(route: Route, params: unknown): unknown {
  const { id } = params as { id?: string };
  const wanted = (route.params as { properties?: { id?: { type?: string } } }).properties?.id?.type;
  return wanted === 'integer' && id !== undefined && /^\d+$/.test(id)
    ? { ...(params as object), id: Number(id) }
    : params;
}
