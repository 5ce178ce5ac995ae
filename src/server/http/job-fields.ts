/** The fields of a form that adds a job: parameters of the service, and what is about the job itself. */
import { Check } from 'typebox/schema';
import { PilotageError } from '../../ground/base/errors.ts';
import type { FileParameter } from '../../ground/content/file-parameters.ts';
import { readValue, type ValueSchema } from '../../ground/content/form-values.ts';
import { ServiceJobRequest } from '../../ground/protocol/service.ts';

export interface JobFields {
  readonly parameters: Record<string, unknown>;
  readonly name?: string;
  readonly contact?: string;
  readonly requestId?: string;
}

interface NamedFile {
  readonly parameter: FileParameter;
  readonly name: string;
}

/** Fields that are about the job and no parameters. */
const OWN = {
  'job.name': { key: 'name', is: 'a name of at most 256 characters' },
  'job.contact': { key: 'contact', is: 'one plain mail address, as in me@example.org' },
  'job.requestId': { key: 'requestId', is: 'a text of 8 to 128 characters' },
} as const;

/** What the texts of a form mean, and the names of its files. Rejects with `bad-request` for what cannot be meant. */
export function jobFieldsOf(
  schema: object,
  texts: ReadonlyMap<string, readonly string[]>,
  files: readonly NamedFile[],
): JobFields {
  const { properties = {} } = schema as { properties?: Readonly<Record<string, ValueSchema>> };
  const parameters: Record<string, unknown> = {};
  const own: { name?: string; contact?: string; requestId?: string } = {};
  for (const [field, given] of texts) {
    const [text = ''] = given;
    if (Object.hasOwn(OWN, field)) {
      const { key, is } = OWN[field as keyof typeof OWN];
      if (text !== '' && !Check(ServiceJobRequest.properties[key], text)) throw badForm(`'${field}' has to be ${is}`);
      if (text !== '') own[key] = text;
      continue;
    }
    const value = readValue(field, Object.hasOwn(properties, field) ? properties[field] : undefined, given);
    if (value !== undefined) set(parameters, field, value);
  }
  for (const { parameter, name } of files) {
    if (!parameter.isList && Object.hasOwn(parameters, parameter.name))
      throw badForm(`'${parameter.name}' takes one file, and a text came besides`);
    const before = (parameters[parameter.name] ?? []) as string[];
    set(parameters, parameter.name, parameter.isList ? [...before, name] : name);
  }
  return { parameters, ...own };
}

/** Whatever a field is called, it is a key and nothing more. */
function set(parameters: Record<string, unknown>, key: string, value: unknown): void {
  Object.defineProperty(parameters, key, { value, enumerable: true, writable: true, configurable: true });
}

export function badForm(what: string): PilotageError {
  return new PilotageError('bad-request', `${what}: nothing was added`);
}
