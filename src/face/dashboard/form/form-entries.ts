import { linesOf } from './check-field.ts';
import type { Field, Value } from './fields.ts';

/** Who submits, and what the job is called; `requestId` makes a repeated request the same job. */
export interface JobFacts {
  readonly name: string;
  readonly contact: string;
  readonly requestId: string;
}

export type Entry = readonly [name: string, value: string | File];

/** A form as it travels: text before files, so that the server can refuse before it takes in what is large. */
export function formEntries(fields: readonly Field[], values: ReadonlyMap<string, Value>, job: JobFacts): Entry[] {
  const entries = fields.flatMap((field) => entriesOf(field, values.get(field.name) ?? field.initial));
  const facts: Entry[] = [
    ['job.name', job.name.trim()],
    ['job.contact', job.contact.trim()],
    ['job.requestId', job.requestId],
  ];
  const filled = facts.filter(([, value]) => value !== '');
  return [...filled, ...entries.filter(isText), ...entries.filter((entry) => !isText(entry))];
}

function isText([, value]: Entry): boolean {
  return typeof value === 'string';
}

/** An empty field is not sent: the service's own value is taken. */
function entriesOf({ name, kind, isEmptyList }: Field, value: Value): Entry[] {
  if (typeof value === 'boolean') return [[name, String(value)]];
  const isEmpty = typeof value === 'string' ? value.trim() === '' : value.length === 0;
  if (isEmpty) return isEmptyList ? [[name, '']] : [];
  if (typeof value !== 'string') return value.map((one): Entry => [name, one]);
  if (kind.kind === 'lines') return linesOf(value).map((line): Entry => [name, line]);
  return [[name, kind.kind === 'number' ? value.trim() : value]];
}
