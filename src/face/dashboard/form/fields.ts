/** From the JSON schema of a service's parameters to the fields of a form. What has no field of its own is written as JSON. */
import { type FileParameter, fileParametersOf } from '../../../ground/content/file-parameters.ts';

export interface Field {
  readonly name: string;
  readonly label: string;
  readonly help: string | undefined;
  /** It must be filled in: it is required, and the service has no value of its own for it. */
  readonly isRequired: boolean;
  /** Left empty it is a list of nothing, and is sent as such. */
  readonly isEmptyList: boolean;
  readonly kind: FieldKind;
  readonly initial: Value;
}

export interface Choice {
  readonly text: string;
  readonly label: string;
}

export interface NumberRule {
  readonly isInteger: boolean;
  readonly min: number | undefined;
  readonly max: number | undefined;
  readonly above: number | undefined;
  readonly below: number | undefined;
  readonly step: number | undefined;
}

export interface TextRule {
  readonly minLength: number | undefined;
  readonly maxLength: number | undefined;
  readonly pattern: string | undefined;
  /** In place of the pattern, for people. */
  readonly patternSays?: string;
}

export type FieldKind =
  | ({
      readonly kind: 'text';
      readonly isLong: boolean;
      readonly inputType: 'text' | 'email' | 'url' | 'date';
    } & TextRule)
  | ({ readonly kind: 'number' } & NumberRule)
  | { readonly kind: 'truth' }
  | { readonly kind: 'choice'; readonly choices: readonly Choice[] }
  | { readonly kind: 'choices'; readonly choices: readonly Choice[]; readonly least: number; readonly most: number }
  | {
      readonly kind: 'lines';
      readonly of: ({ readonly kind: 'text' } & TextRule) | ({ readonly kind: 'number' } & NumberRule);
      readonly least: number;
      readonly most: number;
    }
  | { readonly kind: 'files'; readonly parameter: FileParameter; readonly least: number }
  | { readonly kind: 'json' };

/** What is in a field: text, a tick, ticked choices, files. Numbers, lines and JSON are text until they are read. */
export type Value = string | boolean | readonly string[] | readonly File[];

interface Schema {
  readonly type?: unknown;
  readonly title?: unknown;
  readonly description?: unknown;
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly items?: Schema;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly uniqueItems?: boolean;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
  readonly multipleOf?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly format?: string;
}

export function fieldsOf(schema: object): Field[] {
  const { properties = {}, required = [] } = schema as Schema;
  const files = new Map(fileParametersOf(schema).map((parameter) => [parameter.name, parameter]));
  return Object.entries(properties).map(([name, property]) => {
    const isThere = required.includes(name);
    const parameter = files.get(name);
    const kind: FieldKind = parameter
      ? { kind: 'files', parameter, least: parameter.isList ? (property.minItems ?? 0) : isThere ? 1 : 0 }
      : kindOf(isThere ? property : withoutNull(property));
    const isList = kind.kind === 'lines' || kind.kind === 'choices' || (parameter?.isList ?? false);
    return {
      name,
      label: textOf(property.title) ?? name,
      help: textOf(property.description),
      isRequired: isThere && property.default === undefined && (!isList || (property.minItems ?? 0) > 0),
      isEmptyList: isList && (isThere || property.default !== undefined),
      kind,
      initial: initialOf(kind, property.default),
    };
  });
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** What may be null and need not be there is left out instead. */
function withoutNull(schema: Schema): Schema {
  const others = schema.anyOf?.filter(({ type }) => type !== 'null');
  const [only] = others ?? [];
  return others?.length === 1 && only ? { ...only, default: schema.default } : schema;
}

const LONG_TEXT = 200;

function kindOf(schema: Schema): FieldKind {
  const choices = choicesOf(schema);
  if (choices) return { kind: 'choice', choices };
  switch (schema.type) {
    case 'string': {
      const rule = textRule(schema);
      return { kind: 'text', ...rule, isLong: isLong(schema), inputType: inputTypeOf(schema.format) };
    }
    case 'integer':
    case 'number':
      return { kind: 'number', ...numberRule(schema) };
    case 'boolean':
      return { kind: 'truth' };
    case 'array':
      return listKind(schema);
  }
  return { kind: 'json' };
}

function isLong({ maxLength, format, pattern }: Schema): boolean {
  return format === undefined && pattern === undefined && (maxLength === undefined || maxLength > LONG_TEXT);
}

function inputTypeOf(format: string | undefined): 'text' | 'email' | 'url' | 'date' {
  if (format === 'email' || format === 'date') return format;
  return format === 'uri' ? 'url' : 'text';
}

function listKind(schema: Schema): FieldKind {
  const { items, minItems: least = 0, maxItems: most = Number.POSITIVE_INFINITY } = schema;
  const choices = items && choicesOf(items);
  // Ticks say each choice once.
  if (choices && schema.uniqueItems === true) return { kind: 'choices', choices, least, most };
  switch (items?.type) {
    case 'string':
      return { kind: 'lines', of: { kind: 'text', ...textRule(items) }, least, most };
    case 'integer':
    case 'number':
      return { kind: 'lines', of: { kind: 'number', ...numberRule(items) }, least, most };
  }
  return { kind: 'json' };
}

function textRule({ minLength, maxLength, pattern }: Schema): TextRule {
  return { minLength, maxLength, pattern };
}

function numberRule(schema: Schema): NumberRule {
  return {
    isInteger: schema.type === 'integer',
    min: schema.minimum,
    max: schema.maximum,
    above: schema.exclusiveMinimum,
    below: schema.exclusiveMaximum,
    step: schema.multipleOf,
  };
}

function choicesOf(schema: Schema): Choice[] | undefined {
  const branches = schema.anyOf ?? schema.oneOf;
  if (schema.enum?.every(isPlain)) return schema.enum.map((value) => ({ text: String(value), label: String(value) }));
  if (!branches?.every((branch) => isPlain(branch.const))) return undefined;
  return branches.map((branch) => ({
    text: String(branch.const),
    label: textOf(branch.title) ?? String(branch.const),
  }));
}

function isPlain(value: unknown): boolean {
  return ['string', 'number', 'boolean'].includes(typeof value);
}

function initialOf(kind: FieldKind, value: unknown): Value {
  switch (kind.kind) {
    case 'truth':
      return value === true;
    case 'files':
      return [];
    case 'choices':
      return Array.isArray(value) ? value.map(String) : [];
    case 'lines':
      return Array.isArray(value) ? value.map(String).join('\n') : '';
    case 'json':
      return value === undefined ? '' : JSON.stringify(value, null, 2);
    default:
      return value === undefined || value === null ? '' : String(value);
  }
}
