import Type from 'typebox';
import { PilotRequest } from './pilot.ts';
import { Bytes, closed, DigestText, Permissions, Seconds } from './schema.ts';

/** What a task asks for and a worker offers. `named` counts any other resource; `labels` must be equal. */
export const Resources = closed({
  cpus: Type.Optional(
    Type.Integer({ minimum: 0, maximum: 1_000_000, description: 'processor cores, 1 unless said otherwise' }),
  ),
  memory: Type.Optional(Bytes),
  gpus: Type.Optional(Type.Integer({ minimum: 0, maximum: 100_000 })),
  named: Type.Optional(Type.Record(Type.String({ maxLength: 64 }), Type.Integer({ minimum: 0 }))),
  labels: Type.Optional(Type.Record(Type.String({ maxLength: 64 }), Type.String({ maxLength: 256 }))),
});
export type Resources = Type.Static<typeof Resources>;

const RelativePath = Type.String({ minLength: 1, maxLength: 4096 });

/** A file or directory that is put into the sandbox before the program starts. */
export const InputFile = closed({
  name: RelativePath,
  digest: DigestText,
  kind: Type.Union([Type.Literal('file'), Type.Literal('tree')]),
  executable: Type.Optional(Type.Boolean()),
  permissions: Type.Optional(Permissions),
  size: Type.Optional(Bytes),
  writable: Type.Optional(
    Type.Boolean({ description: 'a copy of its own, however large: the program writes into it' }),
  ),
});
export type InputFile = Type.Static<typeof InputFile>;

/** A pattern of files that the program leaves in its sandbox. `results` fetches what matched. */
export const OutputPattern = closed({ pattern: RelativePath, optional: Type.Optional(Type.Boolean()) });
export type OutputPattern = Type.Static<typeof OutputPattern>;

/**
 * Outputs of another task as inputs, without a detour: `output` is a name or pattern (all outputs unless said
 * otherwise). Those of a submission of many tasks come into a directory for each index, those of one task (`index`,
 * which may hold placeholders) as they are. `name` is the directory they are put into, or, of a single file, its name.
 */
export const OutputInput = closed({
  submission: Type.Optional(Type.Integer({ minimum: 1 })),
  step: Type.Optional(Type.String({ minLength: 1, maxLength: 128 })),
  index: Type.Optional(Type.String({ minLength: 1, maxLength: 1024 })),
  output: Type.Optional(RelativePath),
  name: Type.Optional(RelativePath),
});
export type OutputInput = Type.Static<typeof OutputInput>;

/** Files that are uploaded while the program runs and put back before its next attempt. */
export const CheckpointPolicy = closed({
  patterns: Type.Array(RelativePath, { minItems: 1, maxItems: 1000 }),
  intervalSeconds: Type.Optional(
    Type.Number({ minimum: 1, maximum: 2_592_000, description: '600 s unless said otherwise' }),
  ),
});
export type CheckpointPolicy = Type.Static<typeof CheckpointPolicy>;

export const RetryPolicy = closed({
  limit: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: 1000,
      description: 'runs after the first that may fail, 0 unless said otherwise',
    }),
  ),
  backoffSeconds: Type.Optional(
    Type.Number({
      minimum: 0,
      maximum: 86_400,
      description: 'wait before the second run; doubled each time, up to an hour; 1 s',
    }),
  ),
  lostLimit: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 1000, description: 'after so many lost workers the task fails; 3' }),
  ),
  endedLimit: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 100_000,
      description: 'after so many pilots that ended as planned the task fails; 100',
    }),
  ),
});
export type RetryPolicy = Type.Static<typeof RetryPolicy>;

/**
 * Where a job is sent. The site's configuration is the agent's; `machine`, `user` and `programDirectory` stand in for
 * what that says. `projectDirectory` is where the paths of the job lie: with shared staging the directory on the machine.
 */
export const SiteRequest = closed({
  name: Type.String({ pattern: '^[A-Za-z0-9_][A-Za-z0-9_.-]*$', maxLength: 50 }),
  machine: Type.Optional(Type.String({ minLength: 1, maxLength: 256 })),
  user: Type.Optional(Type.String({ minLength: 1, maxLength: 128 })),
  programDirectory: Type.Optional(Type.String({ minLength: 1, maxLength: 4096 })),
  projectDirectory: Type.Optional(Type.String({ minLength: 1, maxLength: 4096 })),
  /** What it reads in `projectDirectory`, for the record, where files are shared. */
  inputs: Type.Optional(Type.Array(RelativePath, { maxItems: 100_000 })),
  /** Options in the words of a batch system, after the site's own; a site with another one refuses the job. */
  batch: Type.Optional(
    closed({
      scheduler: Type.Union([Type.Literal('slurm'), Type.Literal('grid-engine')]),
      options: Type.Array(Type.String({ minLength: 1, maxLength: 1000, pattern: '^[^\\r\\n\\u0000]+$' }), {
        maxItems: 100,
      }),
    }),
  ),
  /** Given by the server. */
  job: Type.Optional(closed({ number: Type.String(), uid: Type.String() })),
  /** It is a worker of ours. Made by the server only. */
  pilot: Type.Optional(PilotRequest),
});
export type SiteRequest = Type.Static<typeof SiteRequest>;

/**
 * What is to be done, the same for all tasks of a submission but for `{name}` placeholders, which stand for fields of
 * a task's payload. Without a command the payload alone is the task, for claimants that know what to do with it.
 */
export const TaskSpec = closed({
  command: Type.Optional(Type.Array(Type.String({ maxLength: 131_072 }), { minItems: 1, maxItems: 10_000 })),
  env: Type.Optional(
    Type.Record(
      Type.String({ minLength: 1, maxLength: 256, pattern: '^[^=\\u0000]+$' }),
      Type.String({ maxLength: 131_072 }),
    ),
  ),
  inputs: Type.Optional(Type.Array(InputFile, { maxItems: 100_000 })),
  from: Type.Optional(Type.Array(OutputInput, { maxItems: 1000 })),
  checkpoint: Type.Optional(CheckpointPolicy),
  outputs: Type.Optional(Type.Array(OutputPattern, { maxItems: 10_000 })),
  resources: Type.Optional(Resources),
  timeLimitSeconds: Type.Optional(Seconds),
  timeRequestSeconds: Type.Optional(Seconds),
  memoryLimit: Type.Optional(Bytes),
  retry: Type.Optional(RetryPolicy),
  site: Type.Optional(SiteRequest),
});
export type TaskSpec = Type.Static<typeof TaskSpec>;
