import { expect, test } from 'vitest';
import { calls } from '../../../src/face/cli/calls.ts';
import { peerRoutes } from '../../../src/ground/protocol/peer-routes.ts';
import { routes } from '../../../src/ground/protocol/routes.ts';

const all = { ...routes, ...peerRoutes };

test.each(Object.keys(calls) as (keyof typeof calls)[])('the call %s goes where the route of that name is', (name) => {
  expect(calls[name]).toMatchObject({ method: all[name].method, path: all[name].path });
});
