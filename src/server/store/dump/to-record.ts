import type { Row } from './snapshot.ts';

/** PostgreSQL's texts hold every character but NUL: the mark of what cannot be shown stands there. */
export function toRecord(columns: readonly string[], row: Row): Record<string, unknown> {
  return Object.fromEntries(
    columns.map((column, i) => {
      const value = row[i];
      return [column, typeof value === 'string' ? value.replaceAll('\0', '\uFFFD') : value];
    }),
  );
}
