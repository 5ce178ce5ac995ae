import type { Value } from './snapshot.ts';

/** What JSON in a column says. */
export type JsonKind =
  | 'spec'
  | 'inputs'
  | 'outputs'
  | 'progress'
  | 'fields'
  | 'attachments'
  | 'command'
  | 'entry'
  | 'job-files'
  | 'job-results'
  | 'failure'
  | 'times';

/**
 * What becomes of a column of an exported row. Names of numbers (`submission`, …): numbers of the export are replaced by
 * new ones; one that stands for nothing is refused. `time`: in milliseconds since 1970. `json`: of any kind, or of the one
 * that is named, looked at as if it came over HTTP. `?`: it may be null. `put`: not taken from the export at all.
 */
export type Rule =
  | 'own'
  | 'project'
  | 'queue'
  | 'submission'
  | 'submission?'
  | 'dependency'
  | 'job'
  | 'job?'
  | 'service'
  | 'uid'
  | 'digest'
  | 'digest?'
  | 'count'
  | 'count?'
  | 'time'
  | 'time?'
  | 'index'
  | 'real?'
  | 'integer?'
  | 'word'
  | 'word?'
  | 'text'
  | 'text?'
  | 'json'
  | 'json?'
  | 'spec'
  | 'reused?'
  | { readonly json: JsonKind; readonly orNull?: true }
  | { readonly oneOf: readonly string[] }
  | { readonly put: Value | 'now' | 'sequence' };

export type Rules = Readonly<Record<string, Rule>>;
