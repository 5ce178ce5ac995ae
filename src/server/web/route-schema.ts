import Type, { type TSchema } from 'typebox';
import { Problem } from '../../ground/protocol/problem.ts';
import type { Route } from '../../ground/protocol/route.ts';

/** A route of the protocol as the web framework takes it: for validation and for OpenAPI. */
export function schemaOf(route: Route, name: string) {
  return {
    operationId: name,
    summary: route.summary,
    tags: [route.path.split('/')[1] ?? ''],
    ...(route.params ? { params: route.params } : {}),
    ...(route.query ? { querystring: route.query } : {}),
    ...(route.body ? { body: route.alsoAsForm ? jsonOrForm(route.body) : route.body } : {}),
    ...(route.open ? { security: [] } : {}),
    response: { ...(route.reply ? { [route.status ?? 200]: route.reply } : {}), '4xx': Problem, '5xx': Problem },
  };
}

/** A form is read as it arrives, and checked by whoever reads it. */
function jsonOrForm(body: TSchema) {
  return {
    content: {
      'application/json': { schema: body },
      'multipart/form-data': { schema: Type.Object({}, { additionalProperties: true }) },
    },
  };
}
