import { parseDuration } from '../../../ground/base/duration.ts';
import { parseSize } from '../../../ground/base/size.ts';
import { parseTarget } from '../../../ground/base/task-id.ts';
import { parseArrayRange, tooMany } from '../../../ground/protocol/array-range.ts';
import { MAX_TASKS } from '../../../ground/protocol/limits.ts';
import type { Resources } from '../../../ground/protocol/spec.ts';
import type { Dependency } from '../../../ground/protocol/submission.ts';
import type { FromSource, InputSource, JobStep, OutputSource, TaskList, Template } from '../submission/job-step.ts';
import { parsePointInTime } from '../submission/point-in-time.ts';
import { readEach } from './each.ts';
import { failAt, type Located } from './located.ts';
import {
  asBoolean,
  asInteger,
  asList,
  asListOrOne,
  asMap,
  asParsed,
  asText,
  at,
  readKeys,
  toPlain,
  unexpected,
} from './values.ts';

export interface JobFileContext {
  /** What the inputs are relative to. */
  readonly directory: string;
  readonly now: Date;
  /** A word in `after` that is a step of this file. */
  isStep(name: string): boolean;
  /** For the hint when it is not. */
  readonly stepNames: readonly string[];
}

export type KeyReaders = Readonly<Record<string, (value: Located) => Partial<JobStep>>>;

/** The keys of a step, and of the top of a file. */
export function stepKeys(context: JobFileContext): KeyReaders {
  return {
    name: (node) => ({ name: asName(node) }),
    command: (node) => ({ command: asCommand(node) }),
    env: (node) => ({ env: asEnv(node) }),
    inputs: (node) => asInputs(node, context),
    outputs: (node) => ({ outputs: asListOrOne(node).map(asOutput) }),
    each: (node) => ({ tasks: readEach(node) }),
    items: (node) => ({ tasks: asItems(node) }),
    checkpoint: (node) => ({ checkpoint: { patterns: asListOrOne(node).map(asTemplate) } }),
    checkpointInterval: (node) => ({ checkpoint: { intervalSeconds: asInterval(node) } }),
    reuse: (node) => ({ reuse: asBoolean(node) }),
    array: (node) => ({ tasks: asArray(node) }),
    resources: (node) => ({ resources: asResources(node) }),
    timeLimit: (node) => ({ timeLimitSeconds: asParsed(node, parseDuration) }),
    timeRequest: (node) => ({ timeRequestSeconds: asParsed(node, parseDuration) }),
    memoryLimit: (node) => ({ memoryLimit: asParsed(node, parseSize) }),
    retries: (node) => ({ retry: { limit: asInteger(node) } }),
    backoff: (node) => ({ retry: { backoffSeconds: asParsed(node, parseDuration) } }),
    lostLimit: (node) => ({ retry: { lostLimit: asInteger(node, 1) } }),
    endedLimit: (node) => ({ retry: { endedLimit: asInteger(node, 1) } }),
    priority: (node) => ({ priority: asInteger(node, Number.NEGATIVE_INFINITY) }),
    notBefore: (node) => ({ notBefore: asParsed(node, (text) => parsePointInTime(text, context.now)) }),
    after: (node) => ({ after: asListOrOne(node).map((one) => asDependency(one, context)) }),
  };
}

export function asName(node: Located): string {
  const name = asText(node);
  if (name.length >= 1 && name.length <= 128) return name;
  throw failAt(node.at, 'a name has 1 to 128 characters');
}

function asTemplate(node: Located): Template {
  return { text: asText(node), at: `${node.at}: ` };
}

/** A list is run as it stands; a single text is a line for the shell. */
function asCommand(node: Located): Template[] {
  if (node.kind === 'scalar' && typeof node.value === 'string') {
    if (node.value.trim() === '') throw failAt(node.at, 'the command is empty');
    return [{ text: 'sh', at: '' }, { text: '-c', at: '' }, asTemplate(node)];
  }
  const words = asList(node, 'the words of a command as a list, or one line for the shell').map(asTemplate);
  if (words.length === 0 || words[0]?.text === '') throw failAt(node.at, 'the command is empty');
  return words;
}

function asEnv(node: Located): Record<string, Template> {
  return Object.fromEntries(
    asMap(node, 'variables with values').map(({ key, keyAt, value }) => {
      if (!/^[^=\0]+$/.test(key)) throw failAt(keyAt, `'${key}' cannot be the name of a variable`);
      return [key, asTemplate(value)];
    }),
  );
}

/** Files of this machine, and outputs of other tasks. */
function asInputs(node: Located, context: JobFileContext): Partial<JobStep> {
  const inputs: InputSource[] = [];
  const from: FromSource[] = [];
  for (const one of asListOrOne(node)) {
    if (one.kind === 'map' && one.entries.some(({ key }) => key === 'from')) from.push(asFrom(one, context));
    else inputs.push(asInput(one, context.directory));
  }
  return { inputs, ...(from.length > 0 ? { from } : {}) };
}

function asInput(node: Located, base: string): InputSource {
  if (node.kind === 'scalar') return { source: asTemplate(node), base };
  const { source, name, writable } = readKeys<{ source: Template; name: Template; writable: boolean }>(
    node,
    {
      path: (value) => ({ source: asTemplate(value) }),
      as: (value) => ({ name: asTemplate(value) }),
      writable: (value) => ({ writable: asBoolean(value) }),
      // An input with this key never comes here: it is named where the known keys are.
      from: () => ({}),
    },
    'a file, or { path, as, writable } for one that gets another name or is written to; { from, path, as } for an output of another step',
  );
  if (!source) throw failAt(node.at, "an input has a 'path', or says 'from' which step it comes");
  return { source, base, ...(name ? { name } : {}), ...(writable ? { writable } : {}) };
}

function asFrom(node: Located, context: JobFileContext): FromSource {
  const { source, output, name } = readKeys<{ source: FromSource; output: Template; name: Template }>(
    node,
    {
      from: (value) => ({ source: asTask(value, context) }),
      path: (value) => ({ output: asTemplate(value) }),
      as: (value) => ({ name: asTemplate(value) }),
    },
    '{ from, path, as }: which step, which of its outputs (all unless said otherwise), and what they are called here',
  );
  return { ...source, ...(output ? { output } : {}), ...(name ? { name } : {}) };
}

/** A step of this file or a submission by its number, all of it or one task: `relax`, `relax.{index}`, `12.3`. */
function asTask(node: Located, context: JobFileContext): FromSource {
  const text = asText(node);
  if (context.isStep(text)) return { step: text };
  const dot = text.lastIndexOf('.');
  const [what, index] = dot < 0 ? [text, undefined] : [text.slice(0, dot), text.slice(dot + 1)];
  const one = index === undefined ? {} : { index: { text: index, at: `${node.at}: ` } };
  if (context.isStep(what)) return { step: what, ...one };
  if (/^\d{1,15}$/.test(what)) return { submission: Number(what), ...one };
  throw noSuchStep(node, what, 'to take outputs from', context);
}

function asInterval(node: Located): number {
  const seconds = asParsed(node, parseDuration);
  if (seconds >= 1) return seconds;
  throw failAt(node.at, 'between two checkpoints there is a second at least');
}

function asOutput(node: Located): OutputSource {
  if (node.kind === 'scalar') return toOutput(asTemplate(node));
  const { pattern, optional } = readKeys<{ pattern: Template; optional: boolean }>(
    node,
    { path: (value) => ({ pattern: asTemplate(value) }), optional: (value) => ({ optional: asBoolean(value) }) },
    'a file, or { path, optional } for one that need not be there',
  );
  if (!pattern) throw failAt(node.at, "an output has a 'path'");
  return { pattern, optional: optional ?? false };
}

/** A question mark at the end says that the file need not be there. */
export function toOutput(template: Template): OutputSource {
  return template.text.endsWith('?') && template.text.length > 1
    ? { pattern: { ...template, text: template.text.slice(0, -1) }, optional: true }
    : { pattern: template, optional: false };
}

function asItems(node: Located): TaskList {
  const items = asList(node, 'a list of values, one for each task').map(toPlain);
  if (items.length === 0) throw failAt(node.at, 'the list is empty: there would be no task');
  if (items.length > MAX_TASKS) throw failAt(node.at, tooMany(items.length, 'this list').message, 'array-too-large');
  return { kind: 'items', at: `${node.at}: `, count: items.length, payloads: () => items };
}

function asArray(node: Located): TaskList {
  const text = asText(node);
  const range = at(node, () => parseArrayRange(/^\d+$/.test(text) ? `1-${text}` : text));
  return { kind: 'array', at: `${node.at}: `, range };
}

function asResources(node: Located): Resources {
  return readKeys<Resources>(
    node,
    {
      cpus: (value) => ({ cpus: asInteger(value) }),
      memory: (value) => ({ memory: asParsed(value, parseSize) }),
      gpus: (value) => ({ gpus: asInteger(value) }),
      named: (value) => ({ named: asRecord(value, (one) => asInteger(one)) }),
      labels: (value) => ({ labels: asRecord(value, asText) }),
    },
    'cpus, memory, gpus, named or labels',
  );
}

function asRecord<T>(node: Located, read: (value: Located) => T): Record<string, T> {
  return Object.fromEntries(asMap(node, 'names with values').map(({ key, value }) => [key, read(value)]));
}

/** A step of the same file by its name, or what was submitted before by its number. */
function asDependency(node: Located, context: JobFileContext): Dependency {
  if (node.kind !== 'scalar') throw unexpected(node, 'a step or the number of a submission');
  const text = asText(node);
  if (context.isStep(text)) return { step: text };
  if (/^\d/.test(text)) return at(node, () => parseTarget(text));
  throw noSuchStep(node, text, 'to come after', context);
}

function noSuchStep(node: Located, name: string, what: string, { stepNames }: JobFileContext): Error {
  const known = stepNames.length === 0 ? ', for this file has no steps' : `; the steps are ${stepNames.join(', ')}`;
  return failAt(node.at, `there is no step '${name}' ${what}${known}`);
}
