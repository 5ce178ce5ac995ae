import type { Routes } from './routes.ts';

/**
 * The calls of a worker without their schemas: what validates them takes 25 MB, and a node runs many workers.
 * A test holds this table equal to the one in `routes.ts`.
 */
export const workerCalls = {
  register: bare<'register'>('POST', '/workers'),
  exchange: bare<'exchange'>('POST', '/workers/:session/exchange'),
  leave: bare<'leave'>('POST', '/workers/:session/leave'),
  missingBlobs: bare<'missingBlobs'>('POST', '/projects/:project/blobs/missing'),
  putBlob: bare<'putBlob'>('PUT', '/projects/:project/blobs/:digest'),
  getBlob: bare<'getBlob'>('GET', '/projects/:project/blobs/:digest'),
};

function bare<Name extends keyof Routes>(method: Routes[Name]['method'], path: Routes[Name]['path']): Routes[Name] {
  return { method, path, summary: '' } as unknown as Routes[Name];
}
