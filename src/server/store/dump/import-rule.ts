import type { Value } from './snapshot.ts';

/**
 * What becomes of a column of an exported row. Names of numbers (`submission`, …): numbers of the export are replaced by
 * new ones; one that stands for nothing is refused. `?`: it may be null. `put`: not taken from the export at all.
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
  | { readonly oneOf: readonly string[] }
  | { readonly put: Value | 'now' | 'sequence' };

export type Rules = Readonly<Record<string, Rule>>;
