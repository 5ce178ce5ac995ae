/**
 * A statement and its values. Values never become text: the template holds placeholders, and a dialect writes them in
 * its own way (`?` or `$1`). A statement may be put into another one.
 */
export interface Sql {
  readonly texts: readonly string[];
  readonly values: readonly SqlValue[];
}

export type SqlValue =
  | string
  | number
  | null
  | readonly string[]
  | readonly number[]
  | readonly (string | null)[]
  | readonly (number | null)[];

export function sql(texts: TemplateStringsArray, ...parts: readonly (SqlValue | Sql)[]): Sql {
  const outTexts: string[] = [texts[0] ?? ''];
  const values: SqlValue[] = [];
  parts.forEach((part, i) => {
    const after = texts[i + 1] ?? '';
    if (isSql(part)) append(outTexts, values, part, after);
    else {
      values.push(part);
      outTexts.push(after);
    }
  });
  return { texts: outTexts, values };
}

/** Several statements' texts as one, with `between` between them. */
export function joinSql(parts: readonly Sql[], between: Sql): Sql {
  return parts.reduce((sum, part, i) => (i === 0 ? part : sql`${sum}${between}${part}`), sql``);
}

export const EMPTY: Sql = sql``;

function append(texts: string[], values: SqlValue[], part: Sql, after: string): void {
  texts[texts.length - 1] += part.texts[0] ?? '';
  part.values.forEach((value, i) => {
    values.push(value);
    texts.push(part.texts[i + 1] ?? '');
  });
  texts[texts.length - 1] += after;
}

function isSql(part: SqlValue | Sql): part is Sql {
  return typeof part === 'object' && part !== null && 'texts' in part;
}
