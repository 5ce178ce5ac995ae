/**
 * What a program gets that imports `pilotage`: a server's API with types (`client.call(routes.…)`), and files. The one
 * file that only passes on, because it is the package's door.
 */
export { PilotageError } from '../base/errors.ts';
export type { JobDetail, JobRequest, JobView } from '../protocol/job.ts';
export { routes } from '../protocol/routes.ts';
export type { TaskSpec } from '../protocol/spec.ts';
export { type Client, createClient } from './client.ts';
export { downloadFile, downloadTree } from './download.ts';
export type { FileStore } from './file-store.ts';
export { type HttpTarget, httpTransport } from './http-transport.ts';
export { ServerUnreachable } from './transport.ts';
export { type UploadedFile, uploadPaths } from './upload.ts';
