import { expect, test } from 'vitest';
import { fieldsOf, type Value } from '../../../../src/face/dashboard/form/fields.ts';
import { formEntries } from '../../../../src/face/dashboard/form/form-entries.ts';
import { newRequestId } from '../../../../src/face/dashboard/form/request-id.ts';

const fields = fieldsOf({
  properties: {
    structure: { type: 'string', file: {} },
    text: { type: 'string' },
    count: { type: 'integer' },
    isDeep: { type: 'boolean' },
    residues: { type: 'array', items: { type: 'integer' } },
    kinds: { type: 'array', items: { enum: ['a', 'b'] }, uniqueItems: true },
    more: { type: 'array', items: { file: {} } },
    options: { type: 'object' },
  },
});
const job = { name: '', contact: '', requestId: 'page-1' };

test('text goes before files, lists are repeated, and each file is under the name of its parameter', () => {
  const [one, two, three] = ['1', '2', '3'].map((name) => new File([], name));
  const values = new Map<string, Value>([
    ['structure', [one!]],
    ['text', ' two  words\n'],
    ['count', ' 7 '],
    ['isDeep', false],
    ['residues', '1\n\n 2 '],
    ['kinds', ['a', 'b']],
    ['more', [two!, three!]],
    ['options', '{"a": 1}'],
  ]);
  expect(formEntries(fields, values, { name: ' mine ', contact: 'me@here', requestId: 'page-1' })).toEqual([
    ['job.name', 'mine'],
    ['job.contact', 'me@here'],
    ['job.requestId', 'page-1'],
    ['text', ' two  words\n'],
    ['count', '7'],
    ['isDeep', 'false'],
    ['residues', '1'],
    ['residues', '2'],
    ['kinds', 'a'],
    ['kinds', 'b'],
    ['options', '{"a": 1}'],
    ['structure', one],
    ['more', two],
    ['more', three],
  ]);
});

test('what is empty is not sent', () =>
  expect(formEntries(fields, new Map(), job)).toEqual([
    ['job.requestId', 'page-1'],
    ['isDeep', 'false'],
  ]));

test('a list that has to be there and is empty is said to be empty', () => {
  const properties = { residues: { type: 'array', items: { type: 'integer' } }, more: { items: { file: {} } } };
  expect(formEntries(fieldsOf({ properties, required: ['residues', 'more'] }), new Map(), job)).toEqual([
    ['job.requestId', 'page-1'],
    ['residues', ''],
    ['more', ''],
  ]);
});

test('the name of a request is long, and another one each time', () => {
  expect(newRequestId()).toMatch(/^page-[0-9a-f]{32}$/);
  expect(newRequestId()).not.toBe(newRequestId());
});
