import { createHash } from 'node:crypto';
import { messageOf, PilotageError } from '../../ground/base/errors.ts';
import { isDeeperThan } from '../../ground/base/json-depth.ts';
import { MAX_PAYLOAD_DEPTH } from '../../ground/base/limits.ts';
import { parseSafePath } from '../../ground/content/safe-path.ts';
import type { JsonKind, Rule } from '../store/dump/import-rule.ts';
import type { Row, Value } from '../store/dump/snapshot.ts';

/** Old numbers and the new ones in their place. */
export interface Numbers {
  readonly importId: string;
  readonly projectId: number;
  readonly now: number;
  readonly submissions: Map<number, number>;
  readonly queues: Map<number, number>;
  readonly jobs: Map<number, number>;
  readonly services: Map<number, number>;
  /** Says what is wrong with what is no such JSON. */
  readonly faultOfJson: (kind: JsonKind, value: unknown) => string | undefined;
}

/** One row of an export by the rules of its table; `own` is its new number, if it has one. Throws `bad-request` where it breaks a rule. */
export function renumberRow(
  { table, rules, columns }: { table: string; rules: Readonly<Record<string, Rule>>; columns: readonly string[] },
  row: Row,
  numbers: Numbers,
  own: number | undefined,
): Row {
  return Object.entries(rules).map(([column, rule]) => {
    const value = row[columns.indexOf(column)] ?? null;
    try {
      return rule === 'own' ? (own ?? null) : apply(rule, value, numbers);
    } catch (error) {
      throw new PilotageError(
        'bad-request',
        `the export is not one: '${column}' in a row of '${table}' ${messageOf(error)}; nothing was brought in`,
        { cause: error },
      );
    }
  });
}

function apply(rule: Exclude<Rule, 'own'>, value: Value, numbers: Numbers): Value {
  if (typeof rule === 'object') return applyObject(rule, value, numbers);
  if (rule.endsWith('?') && value === null) return null;
  switch (rule) {
    case 'project':
      return numbers.projectId;
    case 'queue':
      return newNumber(numbers.queues, value);
    case 'submission':
    case 'submission?':
      return newNumber(numbers.submissions, value);
    case 'dependency':
      // One that was forgotten is never fulfilled: no submission has the number 0.
      return numbers.submissions.get(value as number) ?? 0;
    case 'job':
    case 'job?':
      return newNumber(numbers.jobs, value);
    case 'service':
      return newNumber(numbers.services, value);
    case 'uid':
      return newUid(numbers, String(value));
    case 'reused?':
      return reusedFrom(numbers, String(value));
    case 'spec':
      return toSpec(numbers, value);
    default:
      return checked(rule, value);
  }
}

function applyObject(rule: Exclude<Rule, string>, value: Value, numbers: Numbers): Value {
  if ('put' in rule) return toPut(rule.put, numbers);
  if ('oneOf' in rule) return oneOf(rule.oneOf, value);
  return rule.orNull && value === null ? null : toJsonOf(rule.json, value, numbers);
}

/** Numbers of tasks have so many digits. More can be neither asked for nor counted on from. */
const MOST = 999_999_999_999_999;
/** The end of the year 9999: no later time can be written. */
const LAST_TIME = 253_402_300_799_999;

function checked(rule: string, value: Value): Value {
  switch (rule.replace('?', '')) {
    case 'count':
      return require(isWholeUpTo(MOST, value), value, 'is no count');
    case 'time':
      return require(isWholeUpTo(LAST_TIME, value), value, 'is no time');
    case 'index':
      return require(value === -1 || isWholeUpTo(MOST, value), value, 'is no index');
    case 'integer':
      return require(Number.isSafeInteger(value), value, 'is no whole number');
    case 'real':
      return require(typeof value === 'number', value, 'is no number');
    case 'digest':
      return require(typeof value === 'string' && /^[0-9a-f]{64}$/.test(value), value, 'is no SHA-256');
    case 'word':
      return require(typeof value === 'string' && /^[A-Za-z0-9_.-]{1,128}$/.test(value), value, 'is no word');
    case 'json':
      return toJson(value);
    default:
      return require(typeof value === 'string', value, 'is no text');
  }
}

function isWholeUpTo(most: number, value: Value): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= most;
}

function require(isGood: boolean, value: Value, fault: string): Value {
  if (isGood) return value;
  throw new Error(fault);
}

function toPut(put: Value | 'now' | 'sequence', { now }: Numbers): Value {
  return put === 'now' ? now : put;
}

function oneOf(known: readonly string[], value: Value): Value {
  return require(typeof value === 'string' && known.includes(value), value, `is none of ${known.join(', ')}`);
}

function newNumber(known: ReadonlyMap<number, number>, value: Value): number {
  const found = known.get(value as number);
  if (found !== undefined) return found;
  throw new Error(`refers to ${String(value)}, which is not in it`);
}

function toJson(value: Value): string {
  if (typeof value !== 'string') throw new Error('is no JSON');
  if (isDeeperThan(JSON.parse(value), MAX_PAYLOAD_DEPTH * 2)) throw new Error('is nested too deep');
  return value;
}

function toJsonOf(kind: JsonKind, value: Value, { faultOfJson }: Numbers): string {
  const text = toJson(value);
  const told: unknown = JSON.parse(text);
  const fault = faultOfJson(kind, told);
  if (fault !== undefined) throw new Error(`does not say what it should (${fault})`);
  if (kind === 'inputs' || kind === 'outputs') for (const { name } of told as { name: string }[]) parseSafePath(name);
  return text;
}

/** The same job in two projects would be one job to those who carry its record: here it is another one. */
function newUid({ importId }: Numbers, uid: string): string {
  const hex = createHash('sha256').update(`${importId}:${uid}`).digest('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join('-');
}

function reusedFrom({ submissions }: Numbers, text: string): string | null {
  const match = /^(\d{1,15})\.(\d{1,15})$/.exec(text);
  const submission = match ? submissions.get(Number(match[1])) : undefined;
  return submission === undefined ? null : `${submission}.${match?.[2]}`;
}

interface Spec {
  readonly from?: readonly { readonly submission?: number }[];
  readonly site?: { readonly job?: { readonly number: string; readonly uid: string } };
}

/** What it names by number it names by the new one. Outputs of what was forgotten are looked for in vain, as before. */
function toSpec(numbers: Numbers, value: Value): string {
  const spec = JSON.parse(toJson(value)) as Spec;
  const fault = numbers.faultOfJson('spec', spec);
  if (fault !== undefined) throw new Error(`describes no task (${fault})`);
  const from = spec.from?.map(({ submission, ...one }) =>
    submission === undefined
      ? one
      : { ...one, submission: numbers.submissions.get(submission) ?? Number.MAX_SAFE_INTEGER },
  );
  const job = spec.site?.job ? { ...spec.site.job, uid: newUid(numbers, spec.site.job.uid) } : undefined;
  return JSON.stringify({ ...spec, ...(from ? { from } : {}), ...(job ? { site: { ...spec.site, job } } : {}) });
}
