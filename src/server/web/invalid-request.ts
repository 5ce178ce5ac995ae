import { closest } from 'fastest-levenshtein';

/** One complaint of the schema validator (Ajv, with `verbose`). */
interface Complaint {
  readonly instancePath: string;
  readonly keyword: string;
  readonly message?: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly parentSchema?: { readonly properties?: Readonly<Record<string, unknown>>; readonly description?: string };
}

interface Invalid {
  readonly validation: readonly Complaint[];
  readonly validationContext?: string;
}

/** What is wrong with a text: where the schema says in words what it should be, these say more. */
const OF_TEXT: readonly string[] = ['pattern', 'minLength', 'maxLength'];

export function isInvalid(error: unknown): error is Invalid {
  return typeof error === 'object' && error !== null && 'validation' in error && Array.isArray(error.validation);
}

/** Where it is wrong, what is wrong there, and for an unknown key the nearest known one. */
export function describeInvalid(error: Invalid): string {
  // Of the branches of a union the one that got furthest is the one that was meant.
  const complaint = [...error.validation].sort((a, b) => rank(b) - rank(a))[0];
  if (!complaint) return 'the request is not what this call takes';
  const where =
    complaint.instancePath === ''
      ? `the ${error.validationContext ?? 'body'}`
      : `${error.validationContext ?? 'body'}${complaint.instancePath}`;
  return `${where}: ${whatIsWrong(complaint)}`;
}

function rank(complaint: Complaint): number {
  const depth = complaint.instancePath.split('/').length;
  return (
    depth * 10 +
    (complaint.keyword === 'additionalProperties' ? 5 : 0) -
    (complaint.keyword === 'anyOf' ? 8 : 0) -
    (complaint.keyword === 'const' ? 2 : 0)
  );
}

function whatIsWrong(complaint: Complaint): string {
  const { description } = complaint.parentSchema ?? {};
  if (description !== undefined && OF_TEXT.includes(complaint.keyword)) return `this has to be ${description}`;
  if (complaint.keyword !== 'additionalProperties') return `${complaint.message ?? 'is wrong'}${allowed(complaint)}`;
  const key = String(complaint.params.additionalProperty);
  const known = Object.keys(complaint.parentSchema?.properties ?? {});
  return `unknown key '${key}'${known.length > 0 ? `: did you mean '${closest(key, known)}'? (known: ${known.join(', ')})` : ''}`;
}

function allowed(complaint: Complaint): string {
  const value = complaint.params.allowedValue;
  return value === undefined ? '' : ` (${JSON.stringify(value)})`;
}
