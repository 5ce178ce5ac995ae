/** What the fronts of services ask for: forms, queues, new jobs, and jobs by their secret links. */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { FastifyReply } from 'fastify';
import { inLanes } from '../../ground/content/in-lanes.ts';
import type { Routes } from '../../ground/protocol/routes.ts';
import { requireScope } from '../access/principal.ts';
import type { Pool } from '../pool/pool.ts';
import type { Call, Handlers } from '../web/handlers.ts';
import { sendBytes } from './send-bytes.ts';

export type FrontHandlers = Pick<
  Handlers,
  | 'createServiceJob'
  | 'serviceForm'
  | 'serviceQueue'
  | 'link'
  | 'linkResults'
  | 'linkFile'
  | 'linkZip'
  | 'linkLog'
  | 'cancelLink'
>;

/** `spool`: where files of forms are while they arrive. */
export function frontHandlers(pool: Pool, spool: string): FrontHandlers {
  return {
    serviceForm: ({ who, params }) => pool.serviceForm(who, params),
    serviceQueue: ({ who, params, query }) => pool.serviceQueue(who, params, query),
    createServiceJob: (call) => (isForm(call.request.raw) ? addFromForm(pool, spool, call) : addFromJson(pool, call)),
    link: ({ params, reply }) => pool.link(hidden(reply, params)),
    linkResults: ({ params, reply }) => pool.linkResults(hidden(reply, params)),
    linkFile: ({ params, request, reply }) => {
      const path = params['*'];
      asDownload(hideFrom(reply), path.split('/').at(-1) ?? path);
      return sendBytes(reply, request, (start) => pool.linkFile(params, path, start));
    },
    linkZip: async ({ params, reply }) => {
      const { name, files } = await pool.linkFiles(hidden(reply, params));
      const { zipOf } = await import('./zip-files.ts');
      return asDownload(reply, `${name}.zip`).type('application/zip').send(zipOf(files));
    },
    linkLog: async ({ params, request, reply }) => {
      const { task, ...link } = params;
      const text = await pool.linkLog(hidden(reply, link), task, request.gone);
      return reply.type('text/plain; charset=utf-8').header('x-content-type-options', 'nosniff').send(text);
    },
    cancelLink: async ({ params, request, reply }) => {
      await pool.cancelLink(hidden(reply, params), request.ip);
      return reply.code(204).send();
    },
  };
}

export function isForm(request: IncomingMessage): boolean {
  return /^multipart\/form-data\b/i.test(request.headers['content-type'] ?? '');
}

/** Whoever only adds jobs brings files with them: naming a digest would show him what somebody else brought. */
function addFromJson(pool: Pool, { who, params, body }: Call<Routes['createServiceJob']>) {
  if (body.files !== undefined) requireScope(who, 'submit');
  return pool.createServiceJob(who, params, body);
}

/** Files that are made durable at a time. */
const KEEP_LANES = 16;

async function addFromForm(pool: Pool, spool: string, { who, params, request }: Call<Routes['createServiceJob']>) {
  const { parameters: schema } = await pool.serviceForm(who, params);
  // Loaded when it is first wanted: the small server stays small.
  const { withJobForm } = await import('./job-form.ts');
  return withJobForm(request.raw, { schema, spool }, async (form) => {
    await inLanes(form.files, KEEP_LANES, (file) => pool.keepFile(who, params.project, { ...file, id: randomUUID() }));
    const files = form.files.map(({ name, digest, size }) => ({ name, digest, size }));
    return pool.createServiceJob(who, params, { ...form, files });
  });
}

/** What a secret address shows is kept by nobody on the way, and its address is told to nobody. */
function hideFrom(reply: FastifyReply): FastifyReply {
  return reply.header('cache-control', 'no-store').header('referrer-policy', 'no-referrer');
}

function hidden<T>(reply: FastifyReply, params: T): T {
  hideFrom(reply);
  return params;
}

/** Saved, and never shown as a page of this server: whatever is in it. */
function asDownload(reply: FastifyReply, name: string): FastifyReply {
  const plain = name.replace(/[^\w.+-]/g, '_');
  return reply
    .header('content-disposition', `attachment; filename="${plain}"; filename*=UTF-8''${encodeURIComponent(name)}`)
    .header('x-content-type-options', 'nosniff')
    .header('content-security-policy', "sandbox; default-src 'none'");
}
