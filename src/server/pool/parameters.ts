import { closest } from 'fastest-levenshtein';
import { Errors } from 'typebox/schema';
import { PilotageError } from '../../ground/base/errors.ts';

interface Property {
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly Property[];
}

interface ObjectSchema {
  readonly properties?: Readonly<Record<string, Property>>;
  readonly additionalProperties?: unknown;
  readonly patternProperties?: unknown;
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

/**
 * What was given, with the schema's defaults where nothing was. Refuses what the schema does not allow, and says where. A
 * parameter that the schema does not know is a slip of the pen, and computing without it would be worse than an error:
 * only a schema that says `additionalProperties` takes more than it names.
 */
export function fillParameters(
  schema: ObjectSchema,
  given: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const defaults = Object.entries(schema.properties ?? {}).filter(([, { default: value }]) => value !== undefined);
  const filled = { ...Object.fromEntries(defaults.map(([key, { default: value }]) => [key, value])), ...given };
  const [isRight, complaints] = Errors(closed(schema), filled) as unknown as [boolean, readonly Complaint[]];
  if (isRight) return filled;
  // What a closed schema does not know is complained of twice: as one too many, and as one of the schema `false`.
  const told = complaints.filter(({ keyword }) => keyword !== 'boolean');
  const said = [...new Set(told.map((complaint) => toText(schema, complaint)))].slice(0, 5).join('; ');
  throw new PilotageError(
    'bad-request',
    `parameters of the job: ${said || 'they are not what the service takes'}: nothing was added`,
  );
}

function closed(schema: ObjectSchema): object {
  const isOpen = schema.additionalProperties !== undefined || schema.patternProperties !== undefined;
  return isOpen ? schema : { ...schema, additionalProperties: false };
}

function toText(schema: ObjectSchema, { keyword, instancePath, message, params }: Complaint): string {
  if (keyword === 'required' && instancePath === '') return `'${params?.requiredProperties?.join("', '")}' is missing`;
  if (keyword === 'additionalProperties' && instancePath === '')
    return (params?.additionalProperties ?? []).map((name) => unknownName(schema, name)).join('; ');
  const where = instancePath.replace(/^\//, '');
  const choices = choicesOf(schema.properties?.[where]);
  if (choices) return `'${where}' must be ${choices.map((choice) => JSON.stringify(choice)).join(' or ')}`;
  return where === '' ? message : `'${where}' ${message}`;
}

function unknownName({ properties = {} }: ObjectSchema, name: string): string {
  const known = Object.keys(properties);
  const hint = known.length === 0 ? '' : `: did you mean '${closest(name, known)}'? (known: ${known.join(', ')})`;
  return `there is no parameter '${name}'${hint}`;
}

/** An enumeration, or a union of literals. */
function choicesOf(property: Property | undefined): readonly unknown[] | undefined {
  if (property?.enum) return property.enum;
  const literals = property?.anyOf?.map(({ const: value }) => value);
  return literals?.every((value) => value !== undefined) ? literals : undefined;
}
