/**
 * Parameters of a service that stand for files: the value is the file's name in the job's directory, or a list of names.
 * In the schema such a text has the key `file` with a rule.
 */
import { PilotageError } from '../base/errors.ts';
import { formatSize } from '../base/size.ts';

/** What a file may be like. `accept`: endings such as `.pdb`, in any case of letters; all are welcome unless given. */
export interface FileRule {
  readonly accept?: readonly string[];
  /** 100 MiB unless given. */
  readonly maxBytes?: number;
}

export interface FileParameter {
  readonly name: string;
  /** Several files, of which the value is a list. */
  readonly isList: boolean;
  readonly accept: readonly string[];
  readonly maxBytes: number;
  /** How many there may be. */
  readonly most: number;
}

const USUAL_BYTES = 100 * 1024 * 1024;
const USUAL_MOST = 1000;

interface PropertySchema {
  readonly type?: unknown;
  readonly file?: FileRule;
  readonly maxItems?: number;
  readonly items?: { readonly file?: FileRule };
}

/** The parameters of a service's schema that stand for files. */
export function fileParametersOf(schema: object): FileParameter[] {
  const { properties = {} } = schema as { properties?: Readonly<Record<string, PropertySchema>> };
  return Object.entries(properties).flatMap(([name, property]) => {
    const rule = property.file ?? property.items?.file;
    if (typeof rule !== 'object' || rule === null) return [];
    const isList = property.file === undefined;
    return [
      {
        name,
        isList,
        accept: rule.accept ?? [],
        maxBytes: rule.maxBytes ?? USUAL_BYTES,
        most: isList ? (property.maxItems ?? USUAL_MOST) : 1,
      },
    ];
  });
}

const LONGEST_NAME = 200;
/** What hooks log, in a job's directory: no file that comes with a job may take its place. */
export const LOG_FILE = 'framework.log';

/**
 * The name of a file that somebody sends, as it may stand in a job's directory. Refuses what is more than a plain name:
 * nothing that comes from outside says where a file goes.
 */
export function plainFileName(name: string): string {
  const why = whyNot(name);
  if (why === undefined) return name;
  const shown = JSON.stringify(name.slice(0, 80));
  throw new PilotageError('bad-request', `a file cannot be called ${shown}: ${why}. Rename it; nothing was added`);
}

function whyNot(name: string): string | undefined {
  if (name === '') return 'it has no name';
  if (/[/\\]/.test(name)) return "a name has no '/' and no '\\'";
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(name)) return 'a name has no control characters';
  if (/[\u202a-\u202e\u2066-\u2069\u200b-\u200f\ufeff]/.test(name)) return 'it has invisible characters';
  if (name.startsWith('.') || name.startsWith('-')) return "a name begins with neither '.' nor '-'";
  if (name !== name.trim()) return 'it begins or ends with a blank';
  if (new TextEncoder().encode(name).length > LONGEST_NAME) return `it is longer than ${LONGEST_NAME} bytes`;
  return name === LOG_FILE ? 'that is the name of the log' : undefined;
}

/** Refuses a file that its parameter does not take. */
export function checkFile(parameter: FileParameter, name: string, size: number): void {
  const { accept, maxBytes } = parameter;
  const isWelcome = accept.length === 0 || accept.some((ending) => name.toLowerCase().endsWith(ending.toLowerCase()));
  if (!isWelcome)
    throw new PilotageError(
      'bad-request',
      `'${name}' is no file for '${parameter.name}', which takes ${accept.join(', ')}: nothing was added`,
    );
  if (size > maxBytes) throw tooLarge(parameter, name);
}

export function tooLarge({ name: parameter, maxBytes }: FileParameter, name: string): PilotageError {
  return new PilotageError(
    'body-too-large',
    `'${name}' is too large: a file for '${parameter}' may have ${formatSize(maxBytes)}. Nothing was added`,
  );
}
