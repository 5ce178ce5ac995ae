import { type Job, type JobStep, mergeSteps } from '../submission/job-step.ts';
import { failAt, type Located, readYaml } from './located.ts';
import { orderSteps } from './order-steps.ts';
import { asName, type KeyReaders, stepKeys } from './step-keys.ts';
import { asMap, asText, readKeys, unexpected } from './values.ts';

export interface JobFileOptions {
  /** As messages name it. */
  readonly fileName: string;
  /** What the inputs are relative to: where the file is. */
  readonly directory: string;
  readonly now: Date;
}

interface Found {
  readonly name?: string;
  readonly at: string;
  readonly body: Located;
}

/** Reads a job file. Throws for the first thing that is wrong in it, with file, line and column. */
export function parseJobFile(text: string, options: JobFileOptions): Job {
  const root = readYaml(text, options.fileName);
  const found = findSteps(root);
  const stepNames = found.flatMap((step) => (step.name === undefined ? [] : [step.name]));
  const readers = stepKeys({ ...options, stepNames, isStep: (name) => stepNames.includes(name) });
  const { project, hasSteps, ...defaults } = readTop(root, readers);
  if (!hasSteps) return toJob(project, [checkCommand(defaults, root.at)]);
  const { name: _title, ...shared } = defaults;
  const steps = found.map((step) => readStep(step, shared, readers));
  return toJob(
    project,
    orderSteps(
      steps,
      found.map((step) => step.at),
    ),
  );
}

function toJob(project: string | undefined, steps: readonly JobStep[]): Job {
  return project === undefined ? { steps } : { project, steps };
}

type Top = JobStep & { readonly project?: string; readonly hasSteps?: boolean };

function readTop(root: Located, readers: KeyReaders): Top {
  checkOneTaskList(root);
  return readMerged(root, {
    ...readers,
    project: (node: Located) => ({ project: asText(node) }) as Partial<JobStep>,
    steps: () => ({ hasSteps: true }) as Partial<JobStep>,
  });
}

function readStep(found: Found, shared: JobStep, readers: KeyReaders): JobStep {
  checkOneTaskList(found.body);
  const own = readMerged(found.body, readers);
  const step = mergeSteps(shared, found.name === undefined ? own : { ...own, name: found.name });
  return checkCommand(step, found.at);
}

/** `retries` and `backoff` are keys of their own, and one thing in the end. */
function readMerged(node: Located, readers: KeyReaders): Top {
  let step: JobStep = {};
  const collecting = Object.fromEntries(
    Object.entries(readers).map(([key, read]) => [
      key,
      (value: Located) => {
        step = mergeSteps(step, read(value) as JobStep);
        return {};
      },
    ]),
  );
  readKeys(node, collecting, 'the keys of a job: command, inputs, outputs, …');
  return step;
}

/** The steps as a list of maps with names, or as a map from name to step. */
function findSteps(root: Located): Found[] {
  const steps = asMap(root, 'the keys of a job: command, inputs, outputs, …').find(({ key }) => key === 'steps')?.value;
  if (!steps) return [];
  const found = steps.kind === 'map' ? fromMap(steps) : fromList(steps);
  if (found.length === 0) throw failAt(steps.at, 'there is no step in it');
  checkDistinct(found);
  return found;
}

function fromMap(steps: Located): Found[] {
  return asMap(steps).map(({ key, keyAt, value }) => {
    const own = value.kind === 'map' ? value.entries.find((entry) => entry.key === 'name') : undefined;
    if (own) throw failAt(own.keyAt, `this step has the name '${key}' already`);
    return { name: key, at: keyAt, body: value };
  });
}

function fromList(steps: Located): Found[] {
  if (steps.kind !== 'list') throw unexpected(steps, 'a list of steps, or names with steps');
  return steps.items.map((body) => {
    const name = asMap(body, 'a step: name, command, …').find(({ key }) => key === 'name')?.value;
    return name ? { name: asName(name), at: body.at, body } : { at: body.at, body };
  });
}

function checkDistinct(found: readonly Found[]): void {
  const seen = new Set<string>();
  for (const { name, at } of found) {
    if (name === undefined) continue;
    if (seen.has(name)) throw failAt(at, `a second step is called '${name}': give it another name`);
    seen.add(name);
  }
}

const TASK_LISTS = ['each', 'items', 'array'];

function checkOneTaskList(node: Located): void {
  const [first, second] = asMap(node, 'the keys of a step: command, inputs, outputs, …').filter(({ key }) =>
    TASK_LISTS.includes(key),
  );
  if (first && second) {
    throw failAt(second.keyAt, `'${second.key}' and '${first.key}' both say which tasks there are: keep one of them`);
  }
}

function checkCommand(step: JobStep, at: string): JobStep {
  if (step.command || step.tasks?.kind === 'items') return step;
  throw failAt(at, "there is no 'command': what is to be run?");
}
