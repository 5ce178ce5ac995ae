import { expect, test } from 'vitest';
import { calls } from '../../../src/face/cli/calls.ts';
import { routes } from '../../../src/ground/protocol/routes.ts';

test.each(Object.keys(calls) as (keyof typeof calls)[])('the call %s goes where the route of that name is', (name) => {
  expect(calls[name]).toMatchObject({ method: routes[name].method, path: routes[name].path });
});
