import { PilotageError } from '../../ground/base/errors.ts';
import { JOB_STATES } from '../../ground/base/job-state.ts';
import { isResting } from '../core/service-job.ts';
import { parseShapeKey, shapeKey } from '../core/shape.ts';
import type { Parts } from '../pool/parts.ts';
import { IMPORT_RULES } from '../store/dump/import-rules.ts';
import { PROJECT_TABLES } from '../store/dump/project-tables.ts';
import type { DumpEvent } from '../store/dump/read-dump.ts';
import type { Row, Value } from '../store/dump/snapshot.ts';
import { type Numbers, renumberRow } from './renumber.ts';

/** What came of the rows, besides that they are there. */
export interface Brought {
  readonly submissions: Map<number, number>;
  /** Tasks that were unfinished. */
  readonly cancelled: number;
  /** Directories: what they list is to be found out. */
  readonly trees: readonly string[];
  readonly lost: readonly string[];
}

export interface Bringing {
  readonly parts: Parts;
  readonly id: string;
  readonly projectId: number;
  readonly forMs: number;
  readonly faultOfJson: Numbers['faultOfJson'];
}

type Batch = Extract<DumpEvent, { kind: 'rows' }>;

/** Brings the rows of an export in, renumbered, each looked at; whatever is wrong with one ends it. */
export async function bringRows(bringing: Bringing, events: AsyncIterable<DumpEvent>): Promise<Brought> {
  const { parts, id, projectId, forMs } = bringing;
  const numbers: Numbers = {
    importId: id,
    projectId,
    now: Date.now(),
    submissions: new Map(),
    queues: new Map(),
    jobs: new Map(),
    services: new Map(),
    faultOfJson: bringing.faultOfJson,
  };
  const shapes = new Map<number, string>();
  const known = new Set(PROJECT_TABLES.map(({ table }) => table));
  const trees: string[] = [];
  const lost: string[] = [];
  let cancelled = 0;
  const insert = async (table: string, columns: readonly string[], rows: readonly Row[]): Promise<void> => {
    if (await parts.store.insertImported({ id, table, columns, rows, forMs })) return;
    throw new PilotageError('gone', 'this import is over: begin it again');
  };
  for await (const event of events) {
    if (event.kind === 'head') continue;
    if (event.kind === 'files') {
      for (const [digest, , gone] of event.rows) if (gone === 1) lost.push(String(digest));
      continue;
    }
    const { table } = event;
    if (!known.has(table)) throw notOne(`it has a table '${table}'`);
    if (table === 'shapes') rememberShapes(shapes, event);
    else if (table === 'queues') await makeQueues(bringing, { shapes, numbers }, event);
    else if (table === 'trees') trees.push(...valuesOf(event, 'digest').map(String));
    else cancelled += await bringBatch(event, numbers, parts, insert);
  }
  return { submissions: numbers.submissions, cancelled, trees, lost };
}

type Insert = (table: string, columns: readonly string[], rows: readonly Row[]) => Promise<void>;

async function bringBatch(event: Batch, numbers: Numbers, { store }: Parts, insert: Insert): Promise<number> {
  const { table, columns } = event;
  const rules = IMPORT_RULES[table] ?? {};
  const own = await ownNumbers(event, numbers, store);
  const out = Object.keys(rules);
  const rows = event.rows.map((row, i) => [...renumberRow({ table, rules, columns }, row, numbers, own?.[i])]);
  if (table === 'tasks') {
    const cancelled = rows.filter((row) => endTask(out, row, numbers.now)).length;
    await insert(table, out, rows);
    return cancelled;
  }
  if (table === 'jobs') for (const row of rows) endJob(out, row, numbers.now);
  await insert(table, out, rows);
  return 0;
}

/** Rows that others refer to get new numbers, in the order in which they come. */
async function ownNumbers(event: Batch, numbers: Numbers, store: Parts['store']): Promise<number[] | undefined> {
  const { table } = event;
  if (table !== 'submissions' && table !== 'jobs' && table !== 'services') return undefined;
  const old = valuesOf(event, 'id');
  const fresh = await store.takeNumbers({ table, count: old.length });
  const known = numbers[table];
  for (const [i, value] of old.entries()) {
    if (!Number.isSafeInteger(value) || known.has(value as number))
      throw notOne(`two rows of '${table}' have one number`);
    known.set(value as number, fresh[i] as number);
  }
  return fresh;
}

const UNFINISHED = ['waiting', 'queued', 'running'];

/** What was unfinished goes on where it was, or nowhere: here it is cancelled, and `retry` runs it. */
function endTask(columns: readonly string[], row: Value[], now: number): boolean {
  const [state, attempt, attemptState, finished] = ['state', 'attempt', 'attempt_state', 'finished_at'].map((name) =>
    columns.indexOf(name),
  ) as [number, number, number, number];
  if (row[attemptState] === 'open') row[attemptState] = row[attempt] === 0 ? 'reported' : 'closed';
  if (!UNFINISHED.includes(row[state] as string)) return false;
  row[state] = 'cancelled';
  row[finished] = now;
  return true;
}

/** The directory of a service's job is at its host, and not here: what was under way cannot go on. */
function endJob(columns: readonly string[], row: Value[], now: number): void {
  const [state, reason, finished] = ['state', 'reason', 'finished_at'].map((name) => columns.indexOf(name)) as [
    number,
    number,
    number,
  ];
  const told = row[state];
  if (told === null) return;
  const was = JOB_STATES.find((one) => one === told);
  if (!was) throw notOne(`'${told}' is no state of a job`);
  if (isResting(was)) return;
  row[state] = 'FAILED';
  row[reason] = `it was ${was} when its project was exported, and cannot go on in an import`;
  row[finished] = now;
}

function rememberShapes(shapes: Map<number, string>, event: Batch): void {
  const [ids, keys] = [valuesOf(event, 'id'), valuesOf(event, 'key')];
  for (const [i, id] of ids.entries()) shapes.set(id as number, checkedShape(keys[i] ?? null));
}

/** What does not come out as it went in is none, and would be in everybody's way. */
function checkedShape(key: Value): string {
  try {
    const shape = parseShapeKey(String(key));
    const { cpus, memory, gpus, timeRequestSeconds } = shape;
    const numbers = [cpus, memory, gpus, timeRequestSeconds, ...Object.values(shape.named)];
    const isSound =
      ['command', 'payload', 'site'].includes(shape.kind) &&
      numbers.every((one) => typeof one === 'number' && Number.isFinite(one) && one >= 0) &&
      Object.values(shape.labels).every((one) => typeof one === 'string') &&
      shapeKey(shape) === key;
    if (isSound) return key;
  } catch (error) {
    throw notOne('it has a shape that is none', error);
  }
  throw notOne('it has a shape that is none');
}

async function makeQueues(
  { parts, projectId }: Bringing,
  { shapes, numbers }: { shapes: ReadonlyMap<number, string>; numbers: Numbers },
  event: Batch,
): Promise<void> {
  const [ids, owners, shapeIds] = ['id', 'owner', 'shape_id'].map((name) => valuesOf(event, name)) as [
    Value[],
    Value[],
    Value[],
  ];
  for (const [i, id] of ids.entries()) {
    const [owner, shape] = [owners[i], shapes.get(shapeIds[i] as number)];
    if (typeof owner !== 'string' || shape === undefined) throw notOne('it has a queue without a shape');
    numbers.queues.set(id as number, await parts.store.importQueue({ projectId, owner, shape }));
  }
}

function valuesOf({ columns, rows, table }: Batch, column: string): Value[] {
  const at = columns.indexOf(column);
  if (at < 0) throw notOne(`'${table}' has no '${column}'`);
  return rows.map((row) => row[at] ?? null);
}

function notOne(what: string, cause?: unknown): PilotageError {
  return new PilotageError('bad-request', `the export is not one: ${what}; nothing was brought in`, { cause });
}
