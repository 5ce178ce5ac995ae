/** What a claim carries besides its row: outputs of other tasks as inputs, and checkpoints of earlier attempts. */
import { messageOf, PilotageError } from '../../ground/base/errors.ts';
import { fillPlaceholders, valuesOf } from '../../ground/base/placeholders.ts';
import { formatTaskId } from '../../ground/base/task-id.ts';
import { permissionsOf } from '../../ground/content/permissions.ts';
import { parseSafePath } from '../../ground/content/safe-path.ts';
import { EXTRAS } from '../store/task-rows.ts';
import type { CheckpointRow } from '../store/verbs/checkpoints.ts';
import type { GivenTask } from '../store/verbs/exchange.ts';
import type { ResultRow } from '../store/verbs/read-tasks.ts';
import { namesThatFit } from './names-that-fit.ts';
import type { Parts } from './parts.ts';
import { questionOfClaim } from './question.ts';
import type { FromFacts, SpecFacts } from './step-facts.ts';

interface File {
  readonly name: string;
  readonly digest: string;
  readonly kind: 'file' | 'tree';
  readonly executable?: boolean;
  readonly permissions?: string;
  readonly size?: number;
}

export interface ClaimExtras {
  /** Another task asked the same: this one has its result, and is not handed out. */
  readonly answered?: true;
  readonly from?: readonly File[];
  readonly fault?: string;
  readonly checkpoints?: readonly { attempt: number; number: number; files: unknown }[];
  /** Of a borrowed task: what it is called where it belongs. */
  readonly home?: unknown;
}

/** More files than this from other tasks are no inputs of one task any more. */
const MAX_FILES = 100_000;

/** By task (`12.3`); tasks that need nothing more are not in it. */
export async function claimExtras(parts: Parts, claims: readonly GivenTask[]): Promise<Map<string, ClaimExtras>> {
  const extras = new Map<string, ClaimExtras>();
  const add = (claim: { submission_id: number; idx: number }, more: ClaimExtras): void => {
    const key = formatTaskId(claim.submission_id, claim.idx);
    extras.set(key, { ...extras.get(key), ...more });
  };
  const borrowed = claims.filter((claim) => (claim.extras & EXTRAS.borrowed) !== 0);
  for (const [claim, facts] of await borrowedFacts(parts, borrowed)) add(claim, facts);
  const withCheckpoints = claims.filter((claim) => (claim.extras & EXTRAS.checkpoint) !== 0);
  for (const [claim, checkpoints] of await checkpointsOf(parts, withCheckpoints)) {
    // Of a borrowed task the home's come with it; newer ones of attempts here come first.
    const older = extras.get(formatTaskId(claim.submission_id, claim.idx))?.checkpoints ?? [];
    add(claim, { checkpoints: [...checkpoints, ...older] });
  }
  const withFrom = claims.filter((claim) => (claim.extras & EXTRAS.from) !== 0);
  const specs = await specsOf(parts, withFrom);
  for (const claim of withFrom) {
    const spec = specs.get(claim.submission_id) ?? {};
    const files = await filesFrom(parts, claim, spec);
    add(claim, files.from && (await isAnswered(parts, claim, spec, files.from)) ? { answered: true } : files);
  }
  return extras;
}

/** Only now, when its inputs are known, can it be told whether it asks what another one asked. */
async function isAnswered(parts: Parts, claim: GivenTask, spec: SpecFacts, from: readonly File[]): Promise<boolean> {
  const question = questionOfClaim(spec, claim, from);
  if (question === null) return false;
  const answer = await parts.store.answerClaimed({
    submission: claim.submission_id,
    idx: claim.idx,
    attempt: claim.attempt,
    question,
    reuse: (claim.extras & EXTRAS.reuse) !== 0,
    graceMs: parts.settings.blobGraceMs,
  });
  return answer === 'answered';
}

/** What came with the claim of a borrowed task, to be handed on as it was, and where it is at home. */
async function borrowedFacts(parts: Parts, claims: readonly GivenTask[]) {
  const keys = claims.map((claim) => ({ submission: claim.submission_id, idx: claim.idx }));
  const rows = await parts.store.findBorrowed({ keys });
  const texts = new Set(rows.map(({ home }) => home));
  const homes = new Map([...texts].map((text) => [text, projectHomeOf(text)]));
  return rows.map((row) => {
    const { task, attempt } = row;
    const home = { ...homes.get(row.home), task, attempt };
    return [row, { home, ...(JSON.parse(row.facts) as ClaimExtras) }] as const;
  });
}

/** Where a borrowed project is at home, and the servers that it came through. */
interface ProjectHome {
  readonly server: string;
  readonly name: string;
  readonly project: string;
  readonly path: readonly string[];
}

function projectHomeOf(text: string): ProjectHome {
  const { server, name, project, path } = JSON.parse(text) as ProjectHome;
  return { server, name, project, path };
}

async function checkpointsOf(parts: Parts, claims: readonly GivenTask[]) {
  if (claims.length === 0) return [];
  const keys = claims.map((claim) => ({ submission: claim.submission_id, idx: claim.idx }));
  const rows = await parts.store.getCheckpoints({ tasks: keys });
  return claims.map((claim) => [claim, rows.filter(isUsable(claim)).map(toCheckpoint)] as const);
}

function isUsable(claim: GivenTask) {
  return (row: CheckpointRow): boolean =>
    row.submission_id === claim.submission_id && row.idx === claim.idx && row.suspect === 0;
}

function toCheckpoint({ attempt, number, files }: CheckpointRow) {
  return { attempt, number, files: JSON.parse(files) as unknown };
}

async function specsOf(parts: Parts, claims: readonly GivenTask[]): Promise<Map<number, SpecFacts>> {
  if (claims.length === 0) return new Map();
  const ids = [...new Set(claims.map((claim) => claim.submission_id))];
  return new Map((await parts.store.getSpecs({ ids })).map((row) => [row.id, JSON.parse(row.spec) as SpecFacts]));
}

/** What cannot be found is told to the worker, which reports it as the task's failure. */
async function filesFrom(parts: Parts, claim: GivenTask, spec: SpecFacts): Promise<ClaimExtras> {
  const values = valuesOf(claim.payload === null ? undefined : JSON.parse(claim.payload), claim.idx);
  const fill = (text: string): string => fillPlaceholders(text, values, (name) => `{${name}}`);
  const files: File[] = [];
  try {
    for (const from of spec.from ?? []) files.push(...(await resolve(parts, claim, from, fill)));
    if (files.length > MAX_FILES)
      throw new PilotageError(
        'bad-spec',
        `${files.length} files of other tasks are too many for one task (${MAX_FILES})`,
      );
    refuseTwice([...ownNames(claim, spec, fill), ...files.map((file) => file.name)]);
    return { from: files };
  } catch (error) {
    if (!(error instanceof PilotageError)) throw error;
    return { fault: `its inputs from other tasks cannot be had: ${messageOf(error)}` };
  }
}

function ownNames(claim: GivenTask, spec: SpecFacts, fill: (text: string) => string): string[] {
  const own = claim.inputs === null ? [] : (JSON.parse(claim.inputs) as { name: string }[]);
  return [...(spec.inputs ?? []), ...own].map(({ name }) => parseSafePath(fill(name)));
}

/** One would take the place of the other without a word. */
function refuseTwice(names: readonly string[]): void {
  const seen = new Set<string>();
  for (const name of names) {
    if (seen.has(name))
      throw new PilotageError(
        'bad-spec',
        `two of its inputs are called '${name}': give one of them another name ('as')`,
      );
    seen.add(name);
  }
}

async function resolve(
  parts: Parts,
  claim: GivenTask,
  from: FromFacts,
  fill: (text: string) => string,
): Promise<File[]> {
  const submission = from.submission ?? 0;
  const index = from.index === undefined ? null : fill(from.index);
  if (index !== null && !/^\d{1,15}$/.test(index))
    throw new PilotageError('bad-spec', `'${index}' is no index of a task of submission ${submission}`);
  const [row] = await parts.store.getSubmissions({ ids: [submission] });
  if (!row || row.gate === 'loading' || row.project_id !== claim.projectId)
    throw new PilotageError('not-found', `there is no submission ${submission} any more`);
  const isOne = index !== null || row.tasks === 1;
  const tasks = await resultsOf(parts, submission, index === null ? null : Number(index));
  if (tasks.length === 0) throw new PilotageError('not-found', `there is no task ${submission}.${index}`);
  const output = from.output === undefined ? undefined : fill(from.output);
  const prefix = from.name === undefined ? undefined : fill(from.name);
  const left = tasks.map((task) => ({ task, files: JSON.parse(task.outputs ?? '[]') as File[] }));
  const names = new Set(left.flatMap(({ files }) => files.map((file) => file.name)));
  const wanted = output === undefined ? names : namesThatFit(output, [...names]);
  return left.flatMap(({ task, files }) => filesOf(task, files, { wanted, output, prefix, isOne }));
}

const PAGE = 1000;

async function resultsOf(parts: Parts, submission: number, idx: number | null): Promise<ResultRow[]> {
  const rows: ResultRow[] = [];
  for (let after: number | null = null; ; after = rows.at(-1)?.idx ?? null) {
    const page = await parts.store.listResults({ submission, idx, attempt: null, after, limit: PAGE });
    rows.push(...page);
    if (page.length < PAGE || rows.length > MAX_FILES) return rows;
  }
}

interface Naming {
  readonly wanted: ReadonlySet<string>;
  readonly output: string | undefined;
  readonly prefix: string | undefined;
  readonly isOne: boolean;
}

function filesOf(task: ResultRow, files: readonly File[], { wanted, output, prefix, isOne }: Naming): File[] {
  const name = formatTaskId(task.submission_id, task.idx);
  if (task.state !== 'succeeded') throw new PilotageError('wrong-state', `task ${name} is ${task.state}`);
  const outputs = files.filter((file) => wanted.has(file.name));
  if (outputs.length === 0)
    throw new PilotageError('not-found', `task ${name} left no ${output === undefined ? 'output' : `'${output}'`}`);
  const below = [prefix, ...(isOne ? [] : [String(task.idx)])].filter((part) => part !== undefined).join('/');
  const isRenamed = isOne && outputs.length === 1 && prefix !== undefined && !prefix.endsWith('/');
  return outputs.map(({ name: own, digest, kind, size, ...how }) => ({
    name: parseSafePath(isRenamed ? prefix : below === '' ? own : `${below}/${own}`),
    digest,
    kind,
    ...permissionsOf(how),
    ...(size === undefined ? {} : { size }),
  }));
}
