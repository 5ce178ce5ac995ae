import Type, { type TSchema } from 'typebox';
import { Compile, Errors, type Validator } from 'typebox/schema';
import { RecordEntry } from '../../ground/protocol/job.ts';
import { OutputFile } from '../../ground/protocol/output-file.ts';
import { Count, closed, DigestText } from '../../ground/protocol/schema.ts';
import { JobFailure, JobFile, JobResults } from '../../ground/protocol/service.ts';
import { InputFile, TaskSpec } from '../../ground/protocol/spec.ts';
import { Progress } from '../../ground/protocol/task.ts';
import type { JsonKind } from '../../server/store/dump/import-rule.ts';

const Fields = Type.Record(Type.String(), Type.Unknown());
const Attachment = closed({
  content_type: Type.String(),
  digest: Type.String(),
  length: Count,
  revpos: Count,
  blob: DigestText,
});

/** What travels is looked at when it comes; what comes with an import by the same schemas. */
const SCHEMAS: Readonly<Record<JsonKind, TSchema>> = {
  spec: TaskSpec,
  inputs: Type.Array(InputFile),
  outputs: Type.Array(OutputFile),
  progress: Progress,
  fields: Fields,
  attachments: Type.Record(Type.String(), Attachment),
  command: Type.Array(Type.String()),
  entry: RecordEntry,
  'job-files': Type.Array(JobFile),
  'job-results': JobResults,
  failure: JobFailure,
  // The end of the year 9999 is the last time that can be written.
  times: Type.Record(Type.String(), Type.Integer({ minimum: 0, maximum: 253_402_300_799_999 })),
};

const compiled = new Map<JsonKind, Validator>();

/** What is wrong with JSON that comes from elsewhere; undefined: nothing. */
export function faultOfJson(kind: JsonKind, value: unknown): string | undefined {
  const validator = compiled.get(kind) ?? Compile(SCHEMAS[kind]);
  compiled.set(kind, validator);
  if (validator.Check(value)) return undefined;
  const [first] = Errors(SCHEMAS[kind], value)[1];
  return first ? `${first.instancePath || 'the whole'}: ${first.message}` : 'it is none';
}
