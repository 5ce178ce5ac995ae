import { describe, expect, test } from 'vitest';
import { EMPTY, joinSql, type Sql, sql } from '../../../src/server/store/sql.ts';

/** As a dialect writes it. */
const written = (statement: Sql) => ({ text: statement.texts.join('?'), values: statement.values });

describe('statements', () => {
  test('values never become text', () => {
    const nasty = "'; drop table tasks; --";
    expect(written(sql`select * from tasks where reason = ${nasty} and idx = ${3}`)).toEqual({
      text: 'select * from tasks where reason = ? and idx = ?',
      values: [nasty, 3],
    });
  });

  test('a statement in a statement keeps its values in their places', () => {
    const inner = sql`(select ${2} union ${sql`select ${3}`})`;
    expect(written(sql`select ${1} from ${inner} where x = ${4}`)).toEqual({
      text: 'select ? from (select ? union select ?) where x = ?',
      values: [1, 2, 3, 4],
    });
  });

  test('one that begins or ends with a value, or is nothing else, can be put anywhere', () => {
    const bare = sql`${1}`;
    expect(written(sql`${bare}${bare} and ${bare}`)).toEqual({ text: '?? and ?', values: [1, 1, 1] });
    expect(written(sql`${EMPTY}${EMPTY}`)).toEqual({ text: '', values: [] });
  });

  test('null and lists are values', () => {
    expect(written(sql`x = any(${[1, 2]}) and y is ${null}`)).toEqual({
      text: 'x = any(?) and y is ?',
      values: [[1, 2], null],
    });
  });

  test('there is always one text more than values', () => {
    const nested = sql`a ${sql`b ${1} c ${sql`${2}`}`} d ${3}`;
    expect(nested.texts).toHaveLength(nested.values.length + 1);
  });

  test.each([
    ['none', [], '', []],
    ['one', [sql`a = ${1}`], 'a = ?', [1]],
    ['several', [sql`a = ${1}`, sql`b`, sql`c = ${2}`], 'a = ? and b and c = ?', [1, 2]],
  ] as const)('joined: %s', (_what, parts, text, values) => {
    expect(written(joinSql(parts, sql` and `))).toEqual({ text, values });
  });

  test('what is put into another statement is not changed by it', () => {
    const part = sql`x = ${1}`;
    joinSql([part, part, sql`y = ${2}`], sql` or `);
    expect(written(part)).toEqual({ text: 'x = ?', values: [1] });
  });
});
