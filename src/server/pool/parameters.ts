import { Errors } from 'typebox/schema';
import { PilotageError } from '../../ground/base/errors.ts';

interface ObjectSchema {
  readonly properties?: Readonly<Record<string, { readonly default?: unknown }>>;
}

interface Complaint {
  readonly keyword: string;
  readonly instancePath: string;
  readonly message: string;
  readonly params?: {
    readonly requiredProperties?: readonly string[];
    readonly additionalProperties?: readonly string[];
  };
}

/** What was given, with the schema's defaults where nothing was. Refuses what the schema does not allow, and says where. */
export function fillParameters(
  schema: ObjectSchema,
  given: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const defaults = Object.entries(schema.properties ?? {}).filter(([, { default: value }]) => value !== undefined);
  const filled = { ...Object.fromEntries(defaults.map(([key, { default: value }]) => [key, value])), ...given };
  const [isRight, complaints] = Errors(schema as object, filled) as unknown as [boolean, readonly Complaint[]];
  if (isRight) return filled;
  const said = [...new Set(complaints.map(toText))].slice(0, 5).join('; ');
  throw new PilotageError(
    'bad-request',
    `parameters of the job: ${said || 'they are not what the service takes'}: nothing was added`,
  );
}

function toText({ keyword, instancePath, message, params }: Complaint): string {
  if (keyword === 'required') return `'${params?.requiredProperties?.join("', '")}' is missing`;
  if (keyword === 'additionalProperties')
    return `there is no parameter '${params?.additionalProperties?.join("', '")}'`;
  const where = instancePath.replace(/^\//, '');
  return where === '' ? message : `'${where}' ${message}`;
}
