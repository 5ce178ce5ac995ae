import type { Client } from '../../ground/client/client.ts';
import { uploadFile } from '../../ground/client/files.ts';
import type { InputFile, OutputPattern } from '../../ground/protocol/spec.ts';
import type { BlobCache } from './blob-cache.ts';
import { type Collected, collectOutputs } from './collect-outputs.ts';
import { retryWhileAway } from './retry.ts';
import { stageInputs } from './stage-inputs.ts';

/** Whose files, and until when it is worth trying. */
export interface StagingJob {
  readonly project: string;
  readonly sandbox: string;
  readonly signal: AbortSignal;
}

/**
 * Files between the server and a sandbox. A server that is away is waited for, for ever, until the job's signal comes:
 * a result is never dropped. Everything else that goes wrong rejects.
 */
export interface Staging {
  stage(job: StagingJob, files: readonly InputFile[]): Promise<void>;
  collect(job: StagingJob, patterns: readonly OutputPattern[]): Promise<Collected>;
  /** Uploads one file of ours (a long log). */
  upload(job: StagingJob, file: string): Promise<{ digest: string; size: number }>;
}

export function createStaging(client: Client, cache: BlobCache, told: (project: string, why: string) => void): Staging {
  const storeOf = ({ project, signal }: StagingJob) => ({ client, project, signal });
  const patiently = <T>(job: StagingJob, act: () => Promise<T>): Promise<T> =>
    retryWhileAway(act, job.signal, (why) => told(job.project, why));
  return {
    stage: (job, files) =>
      patiently(job, () => stageInputs({ store: storeOf(job), cache, sandbox: job.sandbox, files })),
    collect: (job, patterns) =>
      patiently(job, () => collectOutputs({ store: storeOf(job), sandbox: job.sandbox, patterns })),
    upload: (job, file) => patiently(job, () => uploadFile(storeOf(job), file)),
  };
}
