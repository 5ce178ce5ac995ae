import type { Claim } from '../../ground/protocol/exchange.ts';
import type { TaskSpec } from '../../ground/protocol/spec.ts';
import { MARK } from './marked-processes.ts';

/** Where a program finds its server. */
export interface ServerAddress {
  readonly url: string;
  readonly fingerprint?: string;
}

export interface EnvironmentFacts {
  readonly claim: Claim;
  readonly spec: TaskSpec;
  /** The task's own variables, with their placeholders filled. */
  readonly taskEnv: Readonly<Record<string, string>>;
  readonly directory: string;
  readonly gpus: readonly number[];
  readonly server: ServerAddress;
  readonly mark: string;
  /** The checkpoint that was put back: `<attempt>.<number>`. */
  readonly checkpoint?: string;
}

const MAX_PAYLOAD_BYTES = 32 * 1024;

/** What every program gets of the worker's own environment: nothing that could be a secret or an accident. */
export function baseEnvironment(worker: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const kept = Object.entries(worker).filter(
    (pair): pair is [string, string] =>
      pair[1] !== undefined && /^(PATH|HOME|USER|LOGNAME|SHELL|TZ|LANG|LC_[A-Z]+)$/.test(pair[0]),
  );
  return { PATH: '/usr/local/bin:/usr/bin:/bin', ...Object.fromEntries(kept) };
}

/** What is set for one attempt, on top of the base: the task's own variables, then ours, which have the last word. */
export function attemptEnvironment(facts: EnvironmentFacts): Record<string, string> {
  const { claim, spec, directory, gpus, server } = facts;
  // What a program sees is what the people see who submitted it, wherever it runs.
  const { task, attempt, project } = claim.home ?? claim;
  const [submission = '', index = ''] = task.split('.');
  const devices = gpus.join(',');
  return {
    TMPDIR: `${directory}/tmp`,
    ...(gpus.length > 0 ? { CUDA_VISIBLE_DEVICES: devices } : {}),
    ...facts.taskEnv,
    PILOTAGE_TASK_ID: task,
    PILOTAGE_SUBMISSION_ID: submission,
    PILOTAGE_ARRAY_INDEX: index,
    PILOTAGE_ATTEMPT: String(attempt),
    PILOTAGE_PROJECT: project,
    PILOTAGE_CPUS: String(spec.resources?.cpus ?? 1),
    PILOTAGE_GPUS: devices,
    PILOTAGE_PROGRESS_FILE: `${directory}/progress`,
    PILOTAGE_SERVER: server.url,
    PILOTAGE_TOKEN_FILE: `${directory}/token`,
    ...(facts.checkpoint === undefined ? {} : { PILOTAGE_CHECKPOINT: facts.checkpoint }),
    ...memoryOf(spec),
    ...(server.fingerprint === undefined ? {} : { PILOTAGE_FINGERPRINT: server.fingerprint }),
    ...payloadOf(claim),
    [MARK]: facts.mark,
  };
}

/** Good for the task's project while the attempt runs. */
export function attemptToken(claim: Claim): string {
  return `task:${claim.task}:${claim.attempt}:${claim.secret}`;
}

function memoryOf(spec: TaskSpec): Record<string, string> {
  const bytes = spec.memoryLimit ?? spec.resources?.memory;
  return bytes === undefined ? {} : { PILOTAGE_MEMORY_BYTES: String(bytes) };
}

function payloadOf(claim: Claim): Record<string, string> {
  if (claim.payload === undefined || claim.payload === null) return {};
  const text = JSON.stringify(claim.payload);
  return Buffer.byteLength(text) <= MAX_PAYLOAD_BYTES && !text.includes('\0') ? { PILOTAGE_PAYLOAD: text } : {};
}
