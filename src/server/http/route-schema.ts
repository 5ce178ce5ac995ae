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
    ...(route.body ? { body: route.body } : {}),
    response: { ...(route.reply ? { [route.status ?? 200]: route.reply } : {}), '4xx': Problem, '5xx': Problem },
  };
}
