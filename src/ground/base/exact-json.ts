/**
 * JSON whose numbers stay as they were written: 1.0 remains 1.0, and 64-bit numbers keep their last digits. What
 * JavaScript cannot hold is carried through as text (`JSON.rawJSON`).
 */

/** Numbers that may read differently once they were a JavaScript number: long ones, fractions that end in 0, exponents. */
const SUSPICIOUS = /\d{16}|\.\d*0(?!\d)|\d[eE][+-]?\d|-0/;

declare global {
  interface JSON {
    rawJSON(text: string): object;
    isRawJSON(value: unknown): value is { readonly rawJSON: string };
  }
}

type Reviver = (key: string, value: unknown, context: { readonly source?: string }) => unknown;

const keepExact: Reviver = (_key, value, { source }) =>
  typeof value === 'number' && source !== undefined && String(value) !== source ? JSON.rawJSON(source) : value;

/** Throws `SyntaxError` as `JSON.parse` does. */
export function parseExact(text: string): unknown {
  if (!SUSPICIOUS.test(text)) return JSON.parse(text);
  return JSON.parse(text, keepExact as (key: string, value: unknown) => unknown);
}

/** What a number of such JSON is to JavaScript; anything else is returned as it is. */
export function plainNumber(value: unknown): unknown {
  return JSON.isRawJSON(value) ? Number(value.rawJSON) : value;
}
