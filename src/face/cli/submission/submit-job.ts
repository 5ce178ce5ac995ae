import path from 'node:path';
import { formatSize } from '../../../ground/base/size.ts';
import type { SubmissionView } from '../../../ground/protocol/submission.ts';
import { calls } from '../calls.ts';
import { defined } from '../defined.ts';
import type { Invocation } from '../invocation.ts';
import type { Patience } from '../repeat.ts';
import { plural } from '../table.ts';
import { checkJob } from './check-job.ts';
import type { Job } from './job-step.ts';
import { byteProgress, startProgress } from './progress.ts';
import { sendJob } from './send-job.ts';
import { createUploader } from './uploader.ts';

/** How long a command goes on asking a server that does not answer. */
const PATIENCE_SECONDS = 20;
/** From here on a person wants to see it move. */
const MANY = 10_000;

/** Checks a job, uploads its files and sends it. Resolves with its submissions, one for each step. */
export async function submitJob(
  job: Job,
  invocation: Invocation,
  options: { readonly project: string | undefined; readonly strict: boolean },
): Promise<readonly SubmissionView[]> {
  const counts = await checkJob(job);
  const total = counts.reduce((sum, count) => sum + count, 0);
  const client = invocation.client();
  const project = options.project ?? job.project ?? (invocation.context.env.PILOTAGE_PROJECT || 'default');
  const patience = patienceOf(invocation);
  const hasFiles = job.steps.some((step) => (step.inputs ?? []).length > 0);
  if (hasFiles) await client.call(calls.status, { query: { project } });
  const bar = total > MANY ? await startProgress(invocation, 'sending', total) : undefined;
  const uploads = byteProgress(invocation, 'uploading');
  const onProgress = (sent: number, all: number) =>
    bar ? bar.update(0, `${formatSize(sent)} of ${formatSize(all)} of files`) : uploads.update(sent, all);
  try {
    const reply = await sendJob(job, {
      client,
      project,
      patience,
      strict: options.strict,
      upload: createUploader(
        { client, project, patience },
        { onProgress, ...defined({ hashCache: hashCacheOf(invocation) }) },
      ),
      ...(bar ? { onSent: (tasks: number) => bar.update(tasks) } : {}),
    });
    for (const warning of reply.warnings) await invocation.say(`note: ${warning}`);
    return reply.submissions;
  } finally {
    bar?.stop();
    uploads.stop();
  }
}

/** Digests that earlier commands found, unless there is no home to keep them in. */
export function hashCacheOf({ context: { env } }: Invocation): string | undefined {
  const caches = env.XDG_CACHE_HOME || (env.HOME && path.join(env.HOME, '.cache'));
  return caches ? path.join(caches, 'pilotage', 'hashes') : undefined;
}

export function patienceOf(invocation: Invocation): Patience {
  return {
    seconds: PATIENCE_SECONDS,
    onOutage: (error) => void invocation.say(`${error.message}; trying again`),
    onReturn: () => void invocation.say('the server answers again'),
  };
}

/** `submission 12: 120 tasks in project default`. */
export function describeSubmission({ id, tasks, project, name, reused }: SubmissionView): string {
  const answered = reused === 0 ? '' : `, ${reused} of them answered from earlier ones`;
  return `submission ${id}: ${plural(tasks, 'task')} in project ${project}${name === null ? '' : ` (${name})`}${answered}`;
}
