/**
 * `{name}` in a command, environment, input or output stands for a value of the task, and `{{name}}` for the text
 * `{name}`. Everything else stays as it is: `${HOME}`, `{print $1}`, `{1..3}` belong to the shell.
 */
const PLACEHOLDER = /(?<!\$)\{\{([A-Za-z_][\w.-]*)\}\}|(?<![${])\{([A-Za-z_][\w.-]*)\}/g;

export type Values = Readonly<Record<string, unknown>>;

export function placeholdersIn(text: string): string[] {
  if (!text.includes('{')) return [];
  return [...text.matchAll(PLACEHOLDER)].flatMap((match) => (match[2] === undefined ? [] : [match[2]]));
}

/** Fills every placeholder. What stands for one without a value is the caller's word: `missing` is told its name. */
export function fillPlaceholders(text: string, values: Values, missing: (name: string) => string): string {
  if (!text.includes('{')) return text;
  return text.replace(PLACEHOLDER, (_whole, literal: string | undefined, name: string | undefined) => {
    if (name === undefined) return `{${literal}}`;
    return Object.hasOwn(values, name) ? asText(values[name]) : missing(name);
  });
}

/** What a task's placeholders stand for: the fields of its payload (a payload that has none is `item`), and `index`. */
export function valuesOf(payload: unknown, index: number): Values {
  if (payload === null || payload === undefined) return { index };
  const fields = typeof payload === 'object' && !Array.isArray(payload) ? payload : { item: payload };
  return { index, ...fields };
}

function asText(value: unknown): string {
  if (typeof value === 'string') return value;
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
