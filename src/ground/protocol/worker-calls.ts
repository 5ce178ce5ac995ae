import { bareOf } from './bare.ts';
import type { Routes } from './routes.ts';

const bare = bareOf<Routes>();

/**
 * The calls of a worker without their schemas: what validates them takes 25 MB, and a node runs many workers.
 * A test holds this table equal to the one in `routes.ts`.
 */
export const workerCalls = {
  register: bare<'register'>('POST', '/workers'),
  exchange: bare<'exchange'>('POST', '/workers/:session/exchange'),
  leave: bare<'leave'>('POST', '/workers/:session/leave'),
  submit: bare<'submit'>('POST', '/submissions'),
  submission: bare<'submission'>('GET', '/submissions/:id'),
  tasks: bare<'tasks'>('GET', '/tasks'),
  task: bare<'task'>('GET', '/tasks/:id'),
  logs: bare<'logs'>('GET', '/tasks/:id/logs'),
  why: bare<'why'>('GET', '/tasks/:id/why'),
  results: bare<'results'>('GET', '/results/:id'),
  cancel: bare<'cancel'>('POST', '/tasks/cancel'),
  job: bare<'job'>('GET', '/projects/:project/jobs/:number'),
  createJob: bare<'createJob'>('POST', '/projects/:project/jobs'),
  service: bare<'service'>('GET', '/projects/:project/services/:service'),
  hostService: bare<'hostService'>('POST', '/projects/:project/services/:service/hosts'),
  pollService: bare<'pollService'>('POST', '/projects/:project/services/:service/hosts/:session/poll'),
  changeServiceJobs: bare<'changeServiceJobs'>('POST', '/projects/:project/services/:service/hosts/:session/changes'),
  knownServiceJobs: bare<'knownServiceJobs'>('POST', '/projects/:project/services/:service/known'),
  leaveService: bare<'leaveService'>('POST', '/projects/:project/services/:service/hosts/:session/leave'),
  jobRecord: bare<'jobRecord'>('GET', '/projects/:project/jobs/:number/record'),
  mergeRecord: bare<'mergeRecord'>('POST', '/projects/:project/records'),
  checkpoint: bare<'checkpoint'>('POST', '/tasks/checkpoint'),
  source: bare<'source'>('POST', '/workers/:session/source'),
  holds: bare<'holds'>('POST', '/workers/:session/holds'),
  ticketKeys: bare<'ticketKeys'>('GET', '/ticket-keys'),
  missingBlobs: bare<'missingBlobs'>('POST', '/projects/:project/blobs/missing'),
  putBlob: bare<'putBlob'>('PUT', '/projects/:project/blobs/:digest'),
  putBlobs: bare<'putBlobs'>('POST', '/projects/:project/blobs'),
  uploadState: bare<'uploadState'>('GET', '/projects/:project/blobs/:digest/uploads/:upload'),
  getBlob: bare<'getBlob'>('GET', '/projects/:project/blobs/:digest'),
};
